// Simulated datagrams: clients, one UDP listener and backends, in virtual time and from a seed. The
// network loses datagrams, delays them so that they change their order, and doubles some.
//
// It is separate from SimulatedNetwork, which has connections.

import Primitives
import Reactor

@testable import Server

/// Shared by the worker's I/O and the run.
final class SimulatedUDPNetwork {
  static let listener = Socket(descriptor: 1)
  static let listenerAddress = SocketAddress.ip(.loopbackV4, port: 53)

  struct Datagram {
    var bytes: [UInt8]
    var peer: SocketAddress
  }

  private enum Event {
    case toListener(Datagram)
    case toBackend(Datagram, port: UInt16, from: Socket)
    case toSession(Datagram, Socket)
    case refusal(Socket)
    case toClient(Datagram)
  }

  private final class Session {
    let backend: UInt16
    let token: UInt64
    var queue: [Datagram] = []
    var isRefused = false
    init(_ backend: UInt16, _ token: UInt64) { (self.backend, self.token) = (backend, token) }
  }

  enum Backend { case replying, refusing, silent }

  var now = Instant.origin + .seconds(1)
  var generator: RandomGenerator
  var lossPercent = 0
  var backends: [UInt16: Backend] = [:]
  /// Sockets that may be open; further ones fail.
  var socketMax = Int.max
  private var events: [(at: Instant, order: Int, Event)] = []
  private var eventCount = 0
  private var sessions: [Socket: Session] = [:]
  private var nextDescriptor: Int32 = 10
  private var waiting: [Datagram] = []
  private var listenerToken: UInt64?

  // What has happened.
  private(set) var arrivedAtListener: [Datagram] = []
  private(set) var arrivedAtBackends: [(datagram: Datagram, port: UInt16)] = []
  private(set) var arrivedAtClients: [Datagram] = []
  private(set) var mistakes: [String] = []

  init(seed: UInt64) { generator = RandomGenerator(seed: seed) }

  var openCount: Int { sessions.count }
  var isQuiet: Bool { events.isEmpty }

  // MARK: The network

  /// The datagram may be lost, late, or come twice.
  private func carry(_ event: Event) {
    if generator.chance(lossPercent, in: 100) { return }
    let copies = lossPercent > 0 && generator.chance(3, in: 100) ? 2 : 1
    for _ in 0..<copies {
      eventCount += 1
      let delay = TimeSpan.microseconds(Int64(generator.next(below: 20_000)))
      events.append((now + delay, eventCount, event))
    }
  }

  /// The next event at the latest at `deadline`.
  func advance(to deadline: Instant) {
    while let index = events.indices.min(by: { left, right in
      (events[left].at, events[left].order) < (events[right].at, events[right].order)
    }), events[index].at <= deadline {
      let (at, _, event) = events.remove(at: index)
      now = max(now, at)
      happen(event)
      if hasReports { return }
    }
    now = max(now, deadline)
  }

  private func happen(_ event: Event) {
    switch event {
    case .toListener(let datagram):
      arrivedAtListener.append(datagram)
      waiting.append(datagram)
    case .toBackend(let datagram, let port, let socket):
      switch backends[port] ?? .refusing {
      case .refusing: carry(.refusal(socket))
      case .silent: arrivedAtBackends.append((datagram, port))
      case .replying:
        arrivedAtBackends.append((datagram, port))
        let reply = Array("\(port):".utf8) + datagram.bytes
        carry(.toSession(Datagram(bytes: reply, peer: .ip(.loopbackV4, port: port)), socket))
      }
    // A late one finds no socket, or never another session's: descriptors aren't used again here.
    case .toSession(let datagram, let socket): sessions[socket]?.queue.append(datagram)
    case .refusal(let socket): sessions[socket]?.isRefused = true
    case .toClient(let datagram): arrivedAtClients.append(datagram)
    }
  }

  func send(_ bytes: [UInt8], from client: SocketAddress) {
    carry(.toListener(Datagram(bytes: bytes, peer: client)))
  }

  // MARK: The worker's side

  private var hasReports: Bool { !reports.isEmpty }

  var reports: [ReadinessEvent] {
    var reports: [ReadinessEvent] = []
    if let listenerToken, !waiting.isEmpty {
      reports.append(ReadinessEvent(token: listenerToken, readiness: .readable))
    }
    for session in sessions.sorted(by: { $0.key.descriptor < $1.key.descriptor }).map(\.value)
    where !session.queue.isEmpty || session.isRefused {
      reports.append(
        ReadinessEvent(
          token: session.token, readiness: session.isRefused ? [.readable, .failed] : .readable))
    }
    return reports
  }

  func watch(_ token: UInt64) { listenerToken = token }

  func connect(to port: UInt16, token: UInt64) -> ConnectResult {
    if sessions.count >= socketMax { return .failed(.tooManyFiles) }
    let socket = Socket(descriptor: nextDescriptor)
    nextDescriptor += 1
    sessions[socket] = Session(port, token)
    return .started(socket)
  }

  func close(_ socket: Socket) {
    if socket == Self.listener {
      listenerToken = nil
    } else if sessions.removeValue(forKey: socket) == nil {
      mistakes.append("\(socket) is closed, but not open")
    }
  }

  func receive(from socket: Socket, into batch: inout DatagramBatch) -> ReceiveResult {
    if socket == Self.listener {
      if waiting.isEmpty { return .wouldBlock }
      return .received(Self.move(&waiting, into: &batch))
    }
    guard let session = sessions[socket] else {
      mistakes.append("receives from \(socket), which is closed")
      return .wouldBlock
    }
    if session.isRefused {
      session.isRefused = false
      return .failed(.connectionRefused)
    }
    if session.queue.isEmpty { return .wouldBlock }
    return .received(Self.move(&session.queue, into: &batch))
  }

  private static func move(_ queue: inout [Datagram], into batch: inout DatagramBatch) -> Int {
    var count = 0
    while let datagram = queue.first, !batch.isFull {
      batch.append(datagram.bytes.span, from: datagram.peer, to: nil)
      queue.removeFirst()
      count += 1
    }
    return count
  }

  func send(to socket: Socket, _ batch: borrowing DatagramBatch, _ range: Range<Int>) -> SendResult
  {
    if socket == Self.listener {
      for index in range {
        guard let peer = batch.peer(index) else {
          mistakes.append("a reply to nobody")
          continue
        }
        carry(.toClient(Datagram(bytes: batch.array(index), peer: peer)))
      }
      return .sent(range.count)
    }
    guard let session = sessions[socket] else {
      mistakes.append("sends to \(socket), which is closed")
      return .failed(.brokenPipe)
    }
    if session.isRefused {
      session.isRefused = false
      return .failed(.connectionRefused)
    }
    for index in range {
      let datagram = Datagram(bytes: batch.array(index), peer: Self.listenerAddress)
      carry(.toBackend(datagram, port: session.backend, from: socket))
    }
    return .sent(range.count)
  }
}

struct SimulatedUDPIO: QuietIO {
  let net: SimulatedUDPNetwork
  private var reported: [ReadinessEvent] = []

  init(_ net: SimulatedUDPNetwork) { self.net = net }

  var now: Instant { net.now }
  func localAddress(of socket: Socket) -> SocketAddress? { SimulatedUDPNetwork.listenerAddress }

  mutating func wait(until deadline: Instant?) -> Int {
    if net.reports.isEmpty {
      net.advance(to: min(deadline ?? .never, net.now + .milliseconds(50)))
    }
    reported = net.reports
    return reported.count
  }
  func event(_ index: Int) -> ReadinessEvent { reported[index] }
  mutating func watch(listener: Socket, token: UInt64) { net.watch(token) }
  mutating func connectDatagrams(to address: SocketAddress, token: UInt64) -> ConnectResult {
    net.connect(to: address.port ?? 0, token: token)
  }
  mutating func receiveDatagrams(
    from socket: Socket, into batch: inout DatagramBatch
  ) -> ReceiveResult { net.receive(from: socket, into: &batch) }
  mutating func sendDatagrams(
    to socket: Socket, _ batch: borrowing DatagramBatch, _ range: Range<Int>
  ) -> SendResult { net.send(to: socket, batch, range) }
  mutating func close(_ socket: Socket, reset: Bool) { net.close(socket) }
}

extension DatagramBatch {
  borrowing func array(_ index: Int) -> [UInt8] {
    let bytes = bytes(index)
    return (0..<bytes.count).map { bytes[$0] }
  }
}
