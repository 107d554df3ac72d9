// What a worker has for its UDP listeners, and why it drops datagrams.

import Metrics
import Primitives
import Reactor

struct Datagrams: ~Copyable {
  var sessions = SessionTable()
  /// From clients; used within one step.
  var inbound = DatagramBatch()
  /// Datagrams with another beginning, on their way to members; likewise.
  var copies = DatagramBatch()
  /// To clients, until the end of the round; all by one listener.
  var replies = DatagramBatch()
  var repliesListener = 0
  /// While another process still has the sessions: datagrams wait in the sockets.
  var isHeld = false

  mutating func allocate() {
    inbound.allocate()
    copies.allocate()
    replies.allocate()
  }
}

/// Why a datagram of a client or a reply was dropped.
enum DropCause {
  /// No member could be selected.
  case noBackend
  /// Member after member refused it, or could not be reached.
  case backendFailed
  /// As many sessions as there may be, all of other workers; or no descriptor or port is left.
  case sessionLimit
  /// Memory is short, or the process stops: no new sessions.
  case noNewSessions
  /// It should begin with a header of the PROXY protocol.
  case proxyHeader
  /// The kernel did not take it: the buffer of the socket is full, or it is too long.
  case sendFailed

  var counter: TrafficCounter {
    switch self {
    case .noBackend: .udpDroppedNoBackend
    case .backendFailed: .udpDroppedBackendFailed
    case .sessionLimit: .udpDroppedSessionLimit
    case .noNewSessions: .udpDroppedNoNewSessions
    case .proxyHeader: .udpDroppedProxyHeader
    case .sendFailed: .udpDroppedSendFailed
    }
  }
}
