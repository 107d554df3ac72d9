// One transfer has its share of a turn and no more, however fast both its sides are.
//
// The worker stands on an I/O on which one client and one backend have more to say than any turn
// should hear, and take whatever they are told.

import Balancing
import HTTP
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

/// What both sides say first, and which of them goes on; shared with the test.
private final class Flood {
  static let byteCount = 32 << 20
  static let listener = Socket(descriptor: 9)
  static let client = Socket(descriptor: 10)
  static let backend = Socket(descriptor: 11)

  var heads: [Socket: [UInt8]]
  let endless: Socket
  var events: [ReadinessEvent] = []
  var pending: [ReadinessEvent] = []
  var isAccepted = false
  var backendToken: UInt64?
  var receivedCount = 0

  init(request: String, response: String, endless: Socket) {
    heads = [Self.client: Array(request.utf8), Self.backend: Array(response.utf8)]
    self.endless = endless
  }

  func report(_ token: UInt64) {
    pending.append(ReadinessEvent(token: token, readiness: [.readable, .writable]))
  }
}

private struct FloodIO: QuietIO {
  let flood: Flood
  let now = Instant.origin + .seconds(1)

  mutating func wait(until deadline: Instant?) -> Int {
    flood.events = flood.pending
    flood.pending = []
    return flood.events.count
  }
  func event(_ index: Int) -> ReadinessEvent { flood.events[index] }
  mutating func watch(listener: Socket, token: UInt64) { flood.report(token) }
  mutating func accept(from listener: Socket) -> AcceptResult {
    if flood.isAccepted { return .wouldBlock }
    flood.isAccepted = true
    return .accepted(Flood.client, peer: .ip(.loopbackV4, port: 1))
  }
  mutating func register(_ socket: Socket, token: UInt64) { flood.report(token) }
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    flood.report(token)
    flood.backendToken = token
    return .started(Flood.backend)
  }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    if let head = flood.heads.removeValue(forKey: socket) {
      for byte in head { output.append(byte) }
      if socket != flood.endless { return .received(head.count) }
    } else if socket != flood.endless || flood.receivedCount > Flood.byteCount {
      return .wouldBlock
    }
    while output.freeCapacity > 0 { output.append(0x6D) }
    flood.receivedCount += output.count
    return .received(output.count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    // The backend answers the first that it hears.
    if socket == Flood.backend, let token = flood.backendToken {
      flood.backendToken = nil
      flood.report(token)
    }
    return .sent(first.count + second.count)
  }
}

@Suite struct TurnShareTests {
  /// A block in each of the four rounds of a turn, and the one that came with the head.
  private static let shareMax = 5 * BufferPool.largeByteCount

  private func worker(_ flood: Flood) throws -> Worker<FloodIO> {
    let registry = BackendRegistry()
    let member = Member(
      record: registry.backend(pool: "app", address: "1"), address: .ip(.loopbackV4, port: 1))
    let limits = ExchangeLimits(
      connect: .seconds(1), response: .seconds(1), total: .seconds(1), clientIdle: .seconds(1),
      idle: .seconds(1), relayIdle: .seconds(1))
    let pool = Pool(registry.pool("app"), strategy: .roundRobin, members: [member])
    let snapshot = Snapshot(
      settings: Settings(),
      listeners: [
        ListenerSettings(
          name: [],
          rules: RouteRules(
            table: RouteTable([RouteMatch()]), routes: [RouteSettings(.forward(pool: 0))]))
      ],
      pools: [PoolSettings(pool: pool, retry: RetryPolicy(), limits: limits, check: nil)])
    return try loneWorker(
      on: FloodIO(flood: flood), snapshot, listeners: [Flood.listener])
  }

  @Test(arguments: [
    (
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: \(Flood.byteCount)\r\n\r\n", Flood.backend
    ),
    (
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(Flood.byteCount)\r\n\r\n", "", Flood.client
    ),
    (
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      Flood.backend
    ),
  ])
  func aTurnMovesAFewBlocks(request: String, response: String, endless: Socket) throws {
    let flood = Flood(request: request, response: response, endless: endless)
    if response.isEmpty { flood.heads[Flood.backend] = nil }
    var worker = try worker(flood)
    for _ in 0..<20 {
      let before = flood.receivedCount
      worker.turn()
      #expect(flood.receivedCount - before <= Self.shareMax)
    }
    // And each has some.
    #expect(flood.receivedCount > 10 * BufferPool.largeByteCount)
  }
}
