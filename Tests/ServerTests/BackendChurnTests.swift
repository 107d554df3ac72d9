// A pool whose backends get new addresses again and again, as pods do: what a worker keeps of the
// former ones, and what happens when a new backend gets the id of a former one.
//
// The worker runs on an I/O with two clients and any number of backends, which answer at once
// except those that the test makes silent. The clock stands still: nothing times out.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor
import Testing

@testable import Server

/// The peers of the worker; shared with the test. A backend is known by its port.
private final class Peers {
  static let listener = Socket(descriptor: 9)
  static let clients = [Socket(descriptor: 10), Socket(descriptor: 11)]
  private static let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".utf8)

  var events: [ReadinessEvent] = []
  var pending: [ReadinessEvent] = []
  var waiting = Peers.clients[...]
  var tokens: [Socket: UInt64] = [:]
  var arrived: [Socket: [UInt8]] = [:]
  /// The open connections to backends.
  var ports: [Socket: UInt16] = [:]
  private var nextDescriptor: Int32 = 100
  var refusing: Set<UInt16> = []
  var silent: Set<UInt16> = []
  /// The backend that got each request.
  var served: [UInt16] = []
  /// Bytes that the clients got.
  var answeredByteCount = 0

  func report(_ socket: Socket) {
    guard let token = tokens[socket] else { return }
    pending.append(ReadinessEvent(token: token, readiness: [.readable, .writable]))
  }

  func ask(as client: Int) {
    arrived[Self.clients[client]] = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    report(Self.clients[client])
  }

  func open(to port: UInt16, token: UInt64) -> ConnectResult {
    if refusing.contains(port) { return .failed(.connectionRefused) }
    let socket = Socket(descriptor: nextDescriptor)
    nextDescriptor += 1
    ports[socket] = port
    tokens[socket] = token
    report(socket)
    return .started(socket)
  }

  func sent(_ count: Int, to socket: Socket) {
    guard let port = ports[socket] else { return answeredByteCount += count }
    served.append(port)
    if !silent.contains(port) { answer(on: socket) }
  }

  private func answer(on socket: Socket) {
    arrived[socket] = Self.answer
    report(socket)
  }

  /// The silent backend answers.
  func answer(from port: UInt16) {
    for (socket, peer) in ports where peer == port { answer(on: socket) }
  }

  func close(_ socket: Socket) {
    ports[socket] = nil
    tokens[socket] = nil
  }
}

private struct PeersIO: QuietIO {
  let peers: Peers
  let now = Instant.origin + .seconds(1)

  mutating func wait(until deadline: Instant?) -> Int {
    peers.events = peers.pending
    peers.pending = []
    return peers.events.count
  }
  func event(_ index: Int) -> ReadinessEvent { peers.events[index] }
  mutating func watch(listener: Socket, token: UInt64) {
    peers.tokens[listener] = token
    peers.report(listener)
  }
  mutating func accept(from listener: Socket) -> AcceptResult {
    guard let client = peers.waiting.popFirst() else { return .wouldBlock }
    return .accepted(client, peer: .ip(.loopbackV4, port: 1))
  }
  mutating func register(_ socket: Socket, token: UInt64) { peers.tokens[socket] = token }
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    peers.open(to: address.port ?? 0, token: token)
  }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    guard let bytes = peers.arrived.removeValue(forKey: socket) else { return .wouldBlock }
    for byte in bytes { output.append(byte) }
    return .received(bytes.count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    peers.sent(first.count + second.count, to: socket)
    return .sent(first.count + second.count)
  }
  mutating func close(_ socket: Socket, reset: Bool) { peers.close(socket) }
}

@Suite struct BackendChurnTests {
  private let registry = BackendRegistry()
  private let peers = Peers()

  private func address(_ port: UInt16) -> SocketAddress { .ip(.loopbackV4, port: port) }

  private func member(_ port: UInt16, tier: Int = 0) -> Member {
    let record = registry.backend(pool: "app", address: "\(address(port))")
    return Member(record: record, address: address(port), tier: tier)
  }

  private func snapshot(_ members: [Member]) -> Snapshot {
    let limits = ExchangeLimits(
      connect: .seconds(1), response: .seconds(1), total: .seconds(1), clientIdle: .seconds(1),
      idle: .seconds(1), relayIdle: .seconds(1))
    let pool = Pool(registry.pool("app"), strategy: .roundRobin, members: members)
    return Snapshot(
      settings: Settings(),
      listeners: [
        ListenerSettings(
          name: [],
          rules: RouteRules(
            table: RouteTable([RouteMatch()]), routes: [RouteSettings(.forward(pool: 0))]))
      ],
      pools: [PoolSettings(pool: pool, retry: RetryPolicy(), limits: limits, check: nil)])
  }

  private func worker(_ members: [Member]) throws -> Worker<PeersIO> {
    var worker = try loneWorker(
      on: PeersIO(peers: peers), snapshot(members), listeners: [Peers.listener])
    // Accepts the clients.
    for _ in 0..<3 { worker.turn() }
    return worker
  }

  /// How the addresses change.
  enum Change: CaseIterable { case lookup, reload }

  /// Makes `members` the only ones, and returns the backends that are forgotten.
  private func change(
    _ worker: inout Worker<PeersIO>, to members: [Member], by change: Change
  ) -> [BackendRecord] {
    switch change {
    case .lookup: worker.snapshot.pools[0].pool.publish(members)
    case .reload:
      let assignment = ListenerAssignment(socket: Peers.listener, listener: 0)
      worker.handle(.install(snapshot(members), listeners: [assignment]))
    }
    return registry.settle(on: [worker.snapshot.pools[0].pool])
  }

  /// One request of a client, which gets its answer unless the backend is silent.
  private func ask(_ worker: inout Worker<PeersIO>, as client: Int = 0) {
    peers.ask(as: client)
    for _ in 0..<8 { worker.turn() }
  }

  @Test(arguments: Change.allCases)
  func whatAWorkerKeepsIsBounded(by change: Change) throws {
    var worker = try worker([])
    for port in UInt16(1)...10_000 {
      let gone = self.change(&worker, to: [member(port)], by: change)
      if !gone.isEmpty { worker.handle(.forget(gone)) }
      let before = peers.answeredByteCount
      ask(&worker)
      // A wrong backend would have been asked over a connection of a former one.
      try #require(peers.served.last == port && peers.answeredByteCount > before)
    }
    #expect(peers.served.count == 10_000)
    // The remembered ones, the member, and a few that are on their way out.
    let most = BackendRegistry.leftMax + 8
    #expect(worker.backends.slotCount <= most && worker.stock.slotCount <= most)
    #expect(registry.idCount <= most)
    // Idle connections to those that were forgotten are closed.
    #expect(peers.ports.count <= most && worker.stock.count == peers.ports.count)
    #expect(peers.ports.values.allSatisfy { $0 >= 10_000 - most })
  }

  /// A worker may read its messages long after the other threads have forgotten a backend.
  @Test(arguments: Change.allCases)
  func aWorkerThatIsLateUsesNoConnectionOfAFormerBackend(by change: Change) throws {
    var worker = try worker([])
    var late: [[BackendRecord]] = []
    for port in UInt16(1)...3000 {
      // The messages keep the records until they are read.
      late.append(self.change(&worker, to: [member(port)], by: change))
      ask(&worker)
      try #require(peers.served.last == port)
    }
    #expect(peers.ports.count == 3000)
    for records in late { worker.handle(.forget(records)) }
    late = []
    #expect(peers.ports.values.allSatisfy { $0 >= 3000 - BackendRegistry.leftMax - 1 })
    // Now the ids of the former ones are used again.
    let slotCount = worker.backends.slotCount
    for port in UInt16(3001)...4000 {
      worker.handle(.forget(self.change(&worker, to: [member(port)], by: change)))
      ask(&worker)
      try #require(peers.served.last == port)
    }
    #expect(worker.backends.slotCount == slotCount)
  }

  @Test(arguments: Change.allCases)
  func aBackendThatWasTriedKeepsItsNameUntilTheExchangeEnds(by change: Change) throws {
    peers.refusing = [1]
    peers.silent = [2]
    var worker = try worker([member(1), member(2, tier: 1)])
    ask(&worker, as: 1)
    #expect(peers.served == [2])
    for port in UInt16(3)...3000 {
      worker.handle(.forget(self.change(&worker, to: [member(port)], by: change)))
      ask(&worker)
    }
    #expect(registry.idCount <= BackendRegistry.leftMax + 8)
    #expect(worker.reports.notable.isEmpty)
    peers.answer(from: 2)
    for _ in 0..<8 { worker.turn() }
    let lines = worker.reports.notable.map { String(decoding: $0, as: UTF8.self) }
    #expect(lines.count == 1)
    let names = (lines.first ?? "").split(separator: "\"").filter { $0.hasPrefix("127.0.0.1:") }
    #expect(names == ["127.0.0.1:1", "127.0.0.1:2"])
    let counters = worker.traffic.blocks(for: .backend(pool: "app", address: "127.0.0.1:2"))
    #expect(TrafficReading(of: counters)[.responses2xx] == 1)
    // After the exchange, nothing keeps the first one.
    let record = registry.backend(pool: "app", address: "127.0.0.1:1")
    worker.handle(.forget([record]))
    let kept = worker.backends.names.map { String(decoding: $0.bytes, as: UTF8.self) }
    #expect(kept.contains("127.0.0.1:3000") && !kept.contains("127.0.0.1:1"))
  }
}
