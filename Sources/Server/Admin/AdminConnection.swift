// One client of the admin interface: its transport, and how far its request has got.

import HTTP
import HTTP1
import Primitives
import Reactor

struct AdminConnection: ~Copyable {
  enum Phase {
    case awaitingHead
    case receivingBody(AdminRequest, BodyDecoder)
    /// The control thread works on the answer.
    case awaitingControl(AdminRequest)
    case stateEvents
    case tap(TapFilter)
    /// Closes as soon as everything is sent.
    case ending
    /// No session came about; closes when the client does, or is quiet for long.
    case refused
  }

  var transport: Transport
  var phase = Phase.awaitingHead
  let access: AdminAccess
  var parser = RequestParser(limits: HeadLimits(headByteCount: 16 * 1024))
  /// Since when nothing has moved.
  var quietSince: Instant

  init(_ transport: consuming Transport, _ access: AdminAccess, at now: Instant) {
    self.transport = transport
    self.access = access
    quietSince = now
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
}
