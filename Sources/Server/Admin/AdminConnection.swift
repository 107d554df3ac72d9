// One client of the admin interface: its transport, and how far its request has got.

import HTTP
import HTTP1
import Primitives
import Reactor

struct AdminConnection: ~Copyable {
  enum Phase {
    /// Nothing is read before the client has taken the last answer.
    case awaitingHead
    /// The body gathers in `body`.
    case receivingBody(AdminRequest, BodyDecoder)
    /// The control thread works on the answer.
    case awaitingControl(AdminRequest)
    case stateEvents(BodyEncoder)
    case tap(TapFilter, BodyEncoder)
    /// The last answer is on its way.
    case ending
    /// It is sent, and what the client still sends is dropped, since closing would reset the
    /// connection and could take the answer along.
    case lingering
    /// No session came about. What is heard is dropped, as in `lingering`.
    case refused
  }

  var transport: Transport
  var phase = Phase.awaitingHead
  let access: AdminAccess
  /// The version of who may come in by which the client came; it ends with that.
  let accessVersion: Int
  /// Has the client shown that it may change things? Then it keeps its place where others lose
  /// theirs.
  var isTrusted: Bool
  let openedAt: Instant
  var parser = RequestParser(limits: HeadLimits(headByteCount: AdminLimits.headByteCountMax))
  var body: [UInt8] = []
  var requestCount = 0
  private(set) var deadline: Instant
  private var awaited = AdminWait.head

  init(
    _ transport: consuming Transport, _ access: AdminAccess, version: Int, at now: Instant
  ) {
    self.transport = transport
    self.access = access
    accessVersion = version
    isTrusted = access.isLocal
    openedAt = now
    deadline = AdminWait.head.time.map { now + $0 } ?? .never
  }

  /// Is it we who take our time? A command is answered when it has been carried out, however long
  /// that takes.
  var isAwaitingControl: Bool { if case .awaitingControl = phase { true } else { false } }

  /// Is it a stream that goes on by itself?
  var isStreaming: Bool {
    switch phase {
    case .stateEvents, .tap: true
    default: false
    }
  }

  /// Settles until when it may stay as it is. The time runs from when the wait began.
  mutating func updateDeadline(at now: Instant) {
    if awaits == awaited { return }
    awaited = awaits
    deadline = awaited.time.map { now + $0 } ?? .never
  }

  /// A request has come: the next wait begins anew, be it for the same.
  mutating func requestBegan() {
    requestCount += 1
    awaited = .nothing
    deadline = .never
  }

  private var awaits: AdminWait {
    switch phase {
    case .lingering, .refused: .end
    case .awaitingControl: .nothing
    case .receivingBody: .body
    case .awaitingHead where requestCount == 0: .head
    case _ where !transport.isFlushed: .reader
    case .awaitingHead: parser.hasBegun ? .head : .request
    case .ending, .stateEvents, .tap: .nothing
    }
  }
}
