// A worker with one TCP listener on simulated sockets: a test plays the client and the backends
// step by step.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

@testable import Server

/// One end of a connection, as its other side sees it.
final class TCPPeer {
  var token: UInt64?
  /// What the worker has not received yet, and what follows.
  var pending: [UInt8] = []
  var hasFinished = false
  var hasReset = false
  /// As in Linux, an error is reported once, and is an end from then on.
  var hasToldOfReset = false
  /// What the worker has sent.
  var received: [UInt8] = []
  /// How many more bytes it takes.
  var room = Int.max
  var gotEnd = false
  /// Nil while the worker has not closed the connection.
  var closedByReset: Bool?
  /// Bytes that its kernel has not acknowledged.
  var unacknowledged = 0

  var text: String { String(decoding: received, as: UTF8.self) }
  var isOpen: Bool { closedByReset == nil }
}

/// Shared by the worker's I/O and the test.
final class TCPNet {
  static let listener = Socket(descriptor: 9)
  var now = Instant.origin + .seconds(1)
  var events: [ReadinessEvent] = []
  var peers: [Socket: TCPPeer] = [:]
  var waiting: [TCPPeer] = []
  /// What happens to a dial, by the port of the backend.
  enum Dial { case accepted, refused, silent }
  var dials: [UInt16: Dial] = [:]
  var dialled: [UInt16] = []
  var lastDialled = TCPPeer()
  private var nextDescriptor: Int32 = 10

  func add(_ peer: TCPPeer) -> Socket {
    let socket = Socket(descriptor: nextDescriptor)
    nextDescriptor += 1
    peers[socket] = peer
    return socket
  }

  func report(_ peer: TCPPeer, _ readiness: Readiness) {
    if let token = peer.token {
      events.append(ReadinessEvent(token: token, readiness: readiness))
    }
  }
}

struct TCPIO: QuietIO {
  let net: TCPNet
  var reported: [ReadinessEvent] = []
  var now: Instant { net.now }

  mutating func wait(until deadline: Instant?) -> Int {
    reported = net.events
    net.events = []
    return reported.count
  }
  func event(_ index: Int) -> ReadinessEvent { reported[index] }
  mutating func watch(listener: Socket, token: UInt64) {
    net.events.append(ReadinessEvent(token: token, readiness: .readable))
  }
  mutating func accept(from listener: Socket) -> AcceptResult {
    if net.waiting.isEmpty { return .wouldBlock }
    return .accepted(net.add(net.waiting.removeFirst()), peer: .ip(.loopbackV4, port: 1))
  }
  mutating func register(_ socket: Socket, token: UInt64) {
    net.peers[socket]?.token = token
    net.events.append(ReadinessEvent(token: token, readiness: [.readable, .writable]))
  }
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    let port = address.port ?? 0
    net.dialled.append(port)
    let peer = TCPPeer()
    peer.token = token
    net.lastDialled = peer
    switch net.dials[port] ?? .accepted {
    case .accepted: net.report(peer, .writable)
    case .refused:
      peer.hasReset = true
      net.report(peer, [.writable, .failed])
    case .silent: break
    }
    return .started(net.add(peer))
  }
  mutating func connectionResult(of socket: Socket) -> SystemError? {
    guard let peer = net.peers[socket], peer.hasReset, !peer.hasToldOfReset else { return nil }
    peer.hasToldOfReset = true
    return .connectionRefused
  }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult {
    guard let peer = net.peers[socket] else { return .failed(.connectionReset) }
    if peer.pending.isEmpty {
      // As in Linux: after a FIN, a reset isn't found here.
      if peer.hasFinished { return .finished }
      if peer.hasToldOfReset { return .finished }
      peer.hasToldOfReset = peer.hasReset
      return peer.hasReset ? .failed(.connectionReset) : .wouldBlock
    }
    let count = min(peer.pending.count, output.freeCapacity)
    for byte in peer.pending[..<count] { output.append(byte) }
    peer.pending.removeFirst(count)
    return .received(count)
  }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    guard let peer = net.peers[socket] else { return .failed(.brokenPipe) }
    if peer.hasReset {
      peer.hasToldOfReset = true
      return .failed(.brokenPipe)
    }
    let count = min(first.count + second.count, peer.room)
    if count == 0 { return .wouldBlock }
    for index in 0..<count {
      peer.received.append(index < first.count ? first[index] : second[index - first.count])
    }
    peer.room -= count
    return .sent(count)
  }
  mutating func unacknowledgedByteCount(of socket: Socket) -> Int {
    net.peers[socket]?.unacknowledged ?? 0
  }
  mutating func shutdownSending(_ socket: Socket) { net.peers[socket]?.gotEnd = true }
  mutating func close(_ socket: Socket, reset: Bool) { net.peers[socket]?.closedByReset = reset }
}

/// The test's side.
final class TCPStage {
  let net = TCPNet()
  var worker: Worker<TCPIO>
  private let members: [Member]

  /// A pool for each list of ports.
  init(
    pools ports: [[UInt16]] = [[1]], rules: TCPRules = TCPRules(standardPool: 0),
    maxConnections: Int? = nil, queueMax: Int = 0, _ change: (inout Settings) -> Void = { _ in }
  ) throws {
    var settings = Settings()
    change(&settings)
    var all: [Member] = []
    let registry = BackendRegistry()
    let limits = ExchangeLimits(
      queue: .seconds(2), connect: .seconds(3), response: .seconds(1), total: .seconds(60),
      clientIdle: .seconds(1), idle: .seconds(30), relayIdle: .seconds(300))
    var health = HealthPolicy()
    health.failures = 3
    let pools = ports.enumerated().map { index, ports -> PoolSettings in
      let members = ports.map { port in
        Member(
          record: registry.backend(pool: "p\(index)", address: "\(port)", health: health),
          address: .ip(.loopbackV4, port: port), maxConnections: maxConnections)
      }
      all += members
      return PoolSettings(
        pool: Pool(
          registry.pool("p\(index)"), strategy: .roundRobin, members: members, health: health,
          queueMax: queueMax),
        retry: RetryPolicy(), limits: limits, check: nil, protocol: .tcp)
    }
    members = all
    let snapshot = Snapshot(
      settings: settings,
      listeners: [
        ListenerSettings(
          name: [], rules: RouteRules(table: RouteTable([]), routes: []),
          protocols: ListenerProtocols(tcp: true, http1: false), tcp: rules)
      ], pools: pools)
    worker = try loneWorker(on: TCPIO(net: net), snapshot, listeners: [TCPNet.listener])
  }

  func record(_ index: Int) -> BackendRecord { members[index].record }

  func turn(_ count: Int = 4) {
    for _ in 0..<count { worker.turn() }
  }

  /// A client connects, and perhaps says something at once.
  func connect(_ bytes: String = "") -> TCPPeer {
    let client = TCPPeer()
    client.pending = Array(bytes.utf8)
    net.waiting.append(client)
    worker.accept(from: 0)
    turn()
    return client
  }

  /// The backend's side of the last dial.
  var backend: TCPPeer { net.lastDialled }

  func failures(_ word: FailureWord) -> UInt64 {
    MetricsSnapshot(of: [worker.metrics])[.failures, at: Int(word.rawValue)]
  }

  func send(_ text: String, from peer: TCPPeer) {
    peer.pending += Array(text.utf8)
    net.report(peer, .readable)
    turn()
  }

  func finish(_ peer: TCPPeer) {
    peer.hasFinished = true
    net.report(peer, [.readable, .peerFinished])
    turn()
  }

  func reset(_ peer: TCPPeer) {
    peer.hasReset = true
    net.report(peer, [.readable, .writable, .peerFinished, .failed])
    turn()
  }

  func pass(_ time: TimeSpan) {
    net.now = net.now + time
    turn()
  }

  /// A reload, after which the same socket listens for this configuration.
  func install(_ snapshot: Snapshot) {
    let assignment = ListenerAssignment(socket: TCPNet.listener, listener: 0)
    worker.handle(.install(snapshot, listeners: [assignment]))
    turn()
  }

  var isFinished: Bool { worker.isFinished }
  var connectionCount: Int { worker.connections.count }
  var admittedCount: Int { worker.admission.count }

  /// What must be true when nobody is connected any more.
  var isEmpty: Bool {
    worker.connections.count == 0 && worker.exchanges.count == 0 && worker.clientCount == 0
      && members.allSatisfy { $0.record.activeCount == 0 }
  }
}
