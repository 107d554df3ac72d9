// One connection gets its share of an iteration and no more, however much its peers send, and in
// pieces of any size.
//
// The worker runs on an I/O with one client and one backend that send more than any iteration
// should read, and accept everything.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

/// What both sides send first, which of them continues, and with what; shared with the test.
private final class Flood {
  static let byteCount = 32 << 20
  static let listener = Socket(descriptor: 9)
  static let client = Socket(descriptor: 10)
  static let backend = Socket(descriptor: 11)

  var heads: [Socket: [UInt8]]
  let endless: Socket
  /// What it sends repeatedly.
  let refrain: [UInt8]
  private var position = 0
  var events: [ReadinessEvent] = []
  var pending: [ReadinessEvent] = []
  var isAccepted = false
  var backendToken: UInt64?
  var receivedCount = 0
  var sentCounts: [Socket: Int] = [:]

  init(request: String, response: String, endless: Socket, refrain: String = "m") {
    heads = [Self.client: Array(request.utf8), Self.backend: Array(response.utf8)]
    self.endless = endless
    self.refrain = Array(refrain.utf8)
  }

  func nextByte() -> UInt8 {
    position = position + 1 == refrain.count ? 0 : position + 1
    return refrain[position == 0 ? refrain.count - 1 : position - 1]
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
    while output.freeCapacity > 0 { output.append(flood.nextByte()) }
    flood.receivedCount += output.count
    return .received(output.count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    // The backend answers the first request that it receives.
    if socket == Flood.backend, let token = flood.backendToken {
      flood.backendToken = nil
      flood.report(token)
    }
    flood.sentCounts[socket, default: 0] += first.count + second.count
    return .sent(first.count + second.count)
  }
}

@Suite struct TurnShareTests {
  /// A block in each of the four rounds of an iteration, and the one that came with the head.
  private static let shareMax = 5 * BufferPool.largeByteCount

  private func worker(_ flood: Flood, collects: Bool = true) throws -> Worker<FloodIO> {
    let answer = LocalAnswer(status: 200, body: [])
    let registry = BackendRegistry()
    let member = Member(
      record: registry.backend(pool: "app", address: "1"), address: .ip(.loopbackV4, port: 1))
    let limits = ExchangeLimits(
      connect: .seconds(1), response: .seconds(1), total: .seconds(1), clientIdle: .seconds(1),
      idle: .seconds(1), relayIdle: .seconds(1))
    let pools = [
      Pool(registry.pool("app"), strategy: .roundRobin, members: [member]),
      Pool(registry.pool("gone"), strategy: .roundRobin, members: []),
    ]
    var settings = Settings()
    if !collects { settings.collectedByteCountMax = 0 }
    let snapshot = Snapshot(
      settings: settings,
      listeners: [
        ListenerSettings(
          name: [],
          rules: RouteRules(
            table: RouteTable([
              RouteMatch(path: .exact("/here")), RouteMatch(path: .exact("/gone")), RouteMatch(),
            ]),
            routes: [
              RouteSettings(.respond(answer, draining: answer)),
              RouteSettings(.forward(pool: 1)), RouteSettings(.forward(pool: 0)),
            ]))
      ],
      pools: pools.map {
        PoolSettings(pool: $0, retry: RetryPolicy(), limits: limits, check: nil)
      })
    return try loneWorker(
      on: FloodIO(flood: flood), snapshot, listeners: [Flood.listener])
  }

  private static let interimHead =
    "HTTP/1.1 103 Early Hints\r\nLink: </\(String(repeating: "x", count: 30_000))>\r\n\r\n"

  @Test(arguments: [
    (
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: \(Flood.byteCount)\r\n\r\n", Flood.backend, "m"
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", interimHead, Flood.backend, interimHead),
    (
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(Flood.byteCount)\r\n\r\n", "", Flood.client,
      "m"
    ),
    (
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      Flood.backend, "m"
    ),
  ])
  func aTurnMovesAFewBlocks(
    request: String, response: String, endless: Socket, refrain: String
  ) throws {
    let flood = Flood(request: request, response: response, endless: endless, refrain: refrain)
    if response.isEmpty { flood.heads[Flood.backend] = nil }
    var worker = try worker(flood)
    for _ in 0..<20 {
      let before = flood.receivedCount
      worker.turn()
      #expect(flood.receivedCount - before <= Self.shareMax)
    }
    // And each gets some.
    #expect(flood.receivedCount > 10 * BufferPool.largeByteCount)
  }

  @Test(arguments: [
    "GET /here HTTP/1.1\r\nHost: a\r\n\r\n",
    // Its body is waited for, and then there is no backend.
    "POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nm",
  ])
  func aTurnAnswersOneRequestOfAConnection(refrain: String) throws {
    let flood = Flood(request: "", response: "", endless: Flood.client, refrain: refrain)
    var worker = try worker(flood)
    for _ in 0..<20 {
      let before = worker.metrics.value(.requests)
      worker.turn()
      #expect(worker.metrics.value(.requests) - before <= 1)
    }
    #expect(worker.metrics.value(.requests) > 15)
  }

  @Test(arguments: [
    ("POST / HTTP/1.1\r\nHost: a\r\n", "", Flood.client, Flood.backend),
    (
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n", Flood.backend, Flood.client
    ),
  ])
  func aTurnMovesAFewChunksOfOneByte(
    request: String, response: String, endless: Socket, other: Socket
  ) throws {
    let chunk = "1\r\nm\r\n"
    let framing = "Transfer-Encoding: chunked\r\n\r\n"
    let flood = Flood(
      request: endless == Flood.client ? request + framing : request,
      response: response + framing, endless: endless, refrain: chunk)
    if response.isEmpty { flood.heads[Flood.backend] = nil }
    // The body is forwarded as it arrives.
    var worker = try worker(flood, collects: false)
    for _ in 0..<20 {
      let before = flood.sentCounts[other, default: 0]
      worker.turn()
      let chunkCount = (flood.sentCounts[other, default: 0] - before) / chunk.utf8.count
      #expect(chunkCount <= 5 * 128)
    }
    #expect(flood.sentCounts[other, default: 0] > 5_000)
  }
}

/// Many clients that connect at once and send nothing, until their timeout.
private final class Crowd {
  static let count = 2_000
  var waiting = count
  var closedCount = 0
  var now = Instant.origin + .seconds(1)
}

private struct CrowdIO: QuietIO {
  let crowd: Crowd
  var now: Instant { crowd.now }

  mutating func wait(until deadline: Instant?) -> Int { crowd.waiting > 0 ? 1 : 0 }
  func event(_ index: Int) -> ReadinessEvent {
    ReadinessEvent(token: WorkerListener.token(0), readiness: .readable)
  }
  mutating func accept(from listener: Socket) -> AcceptResult {
    if crowd.waiting == 0 { return .wouldBlock }
    crowd.waiting -= 1
    return .accepted(
      Socket(descriptor: Int32(100 + crowd.waiting)), peer: .unix("client"))
  }
  mutating func close(_ socket: Socket, reset: Bool) { crowd.closedCount += 1 }
}

@Suite struct DeadlineShareTests {
  @Test func aTurnEndsAFewOfManyThatAreDueTogether() throws {
    let crowd = Crowd()
    let snapshot = Snapshot(
      settings: Settings(),
      listeners: [
        ListenerSettings(name: [], rules: RouteRules(table: RouteTable([]), routes: []))
      ], pools: [])
    var worker = try loneWorker(
      on: CrowdIO(crowd: crowd), snapshot, listeners: [Socket(descriptor: 9)])
    while crowd.waiting > 0 { worker.turn() }
    crowd.now = crowd.now + .seconds(3_600)
    var turnCount = 0
    while crowd.closedCount < Crowd.count && turnCount < 100 {
      let before = crowd.closedCount
      #expect(worker.waitsUntil.map { $0 <= crowd.now } == true)
      worker.turn()
      #expect(crowd.closedCount - before <= 256)
      turnCount += 1
    }
    #expect(crowd.closedCount == Crowd.count)
  }
}
