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
  }

  var transport: Transport
  var phase = Phase.awaitingHead
  /// By the Unix socket, whose file nobody else can open.
  let isLocal: Bool
  var parser = RequestParser(limits: HeadLimits(headByteCount: 16 * 1024))
  /// Since when nothing has moved.
  var quietSince: Instant

  init(_ socket: Socket, isLocal: Bool, at now: Instant) {
    transport = Transport(socket)
    self.isLocal = isLocal
    quietSince = now
  }

  /// Is it a stream that goes on by itself?
  var isStreaming: Bool {
    switch phase {
    case .stateEvents, .tap: true
    default: false
    }
  }
}
