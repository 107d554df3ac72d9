// An `InputOutput` without any events, for tests of a worker or connection: each test only
// implements the part it needs.

import Logging
import Metrics
import Primitives
import Reactor

@testable import Server

/// No client connects, every connect fails, no bytes arrive, and no socket accepts bytes.
protocol QuietIO: InputOutput {}

extension QuietIO {
  mutating func wait(until deadline: Instant?) -> Int { 0 }
  func event(_ index: Int) -> ReadinessEvent { ReadinessEvent(token: 0, readiness: []) }
  mutating func watch(listener: Socket, token: UInt64) {}
  mutating func unwatch(listener: Socket) {}
  mutating func accept(from listener: Socket) -> AcceptResult { .wouldBlock }
  mutating func register(_ socket: Socket, token: UInt64) {}
  mutating func connect(to address: SocketAddress, token: UInt64) -> ConnectResult {
    .failed(.connectionRefused)
  }
  mutating func keepAlive(_ socket: Socket, _ probes: TCPKeepAlive) {}
  mutating func reregister(_ socket: Socket, token: UInt64) {}
  mutating func connectionResult(of socket: Socket) -> SystemError? { nil }
  mutating func receive(
    from socket: Socket, into output: inout OutputSpan<UInt8>
  ) -> ReceiveResult { .wouldBlock }
  mutating func isQuiet(_ socket: Socket) -> Bool { true }
  mutating func send(to socket: Socket, _ first: Span<UInt8>, _ second: Span<UInt8>) -> SendResult {
    .wouldBlock
  }
  mutating func unacknowledgedByteCount(of socket: Socket) -> Int { 0 }
  mutating func shutdownSending(_ socket: Socket) {}
  mutating func close(_ socket: Socket, reset: Bool) {}
}

/// The only worker, without logging, with `snapshot` in force and a socket for each of its
/// listeners.
func loneWorker<IO: QuietIO>(
  on io: IO, _ snapshot: Snapshot, listeners: [Socket] = []
) throws -> Worker<IO> {
  var worker = Worker(
    index: 0, io: io, seed: 1, snapshot: snapshot, inbox: try Inbox(), peers: [],
    metrics: WorkerMetrics(),
    events: EventLog(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }),
    log: AccessLog(settings: LogSettings(), producer: nil))
  let assignments = listeners.enumerated().map { index, socket in
    ListenerAssignment(socket: socket, listener: index)
  }
  worker.handle(.install(snapshot, listeners: assignments))
  return worker
}
