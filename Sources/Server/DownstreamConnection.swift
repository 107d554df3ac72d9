// One client's connection: its transport, and how far the HTTP/1 codec has got with it.
//
// It answers "which bytes are the next head" and keeps the phase; what is done about them is in
// Worker+Downstream.swift. What only an exchange needs is in ActiveExchange.swift: nearly all
// connections of a busy site are idle. One exchange at a time: a pipelined request waits in the
// buffer, and by that in the client, until the one before it is answered (RFC 9112 9.3.2).

import HTTP
import HTTP1
import Primitives

struct DownstreamConnection: ~Copyable {
  /// What the connection is doing.
  enum Phase {
    case handshaking
    /// Between requests, or with a part of a head in `inbound`.
    case awaitingHead
    case exchanging(Handle)
    /// Bytes both ways after a 101.
    case relaying(Handle)
    /// The last answer is written; closes once it is flushed, at once or after lingering.
    case flushing(thenLinger: Bool)
    /// Sending is shut down; what the client still sends is discarded, so that it can read its
    /// answer before it sees a reset (RFC 9112 9.6).
    case lingering(Lingering)
  }

  /// How a client that goes on sending after its last answer is put up with.
  struct Lingering {
    let endsAt: Instant
    /// Since it was looked at last.
    var discardedByteCount: UInt64 = 0
  }

  var transport: Transport
  var phase: Phase
  let peer: SocketAddress
  /// What it was admitted as; nil where connections aren't counted by address.
  let block: IPAddress?
  /// Which of the worker's listeners accepted it.
  let listener: Int
  let desync: DesyncMode

  private var parser: RequestParser
  /// Connections to backends that the client has logged in by, which are nobody else's.
  var logins: [Handle] = []
  /// Did one of them end? Then the client must see an end too, or it would go on as somebody else.
  var hasLostLogin = false
  /// When the current handshake began, or when the first part of an incomplete head arrived; nil
  /// between heads.
  var beganAt: Instant?
  /// Requests whose head was complete.
  var requestCount = 0
  /// The worker's turn in which the last one was.
  var headTurn: UInt64 = 0

  var deadline = Deadline()
  /// That of the exchange under way; here, so that the timer wheel isn't touched for each.
  var exchangeDeadline = Deadline()
  /// How much of what was sent the client had taken when it was last looked at; nil before that,
  /// and while nothing waits for it.
  var takenByteCount: UInt64?
  /// Is it in the worker's queue of connections to drive, to flush?
  var isQueued = false
  var isQueuedToFlush = false

  init(
    _ transport: consuming Transport, peer: SocketAddress, block: IPAddress?, listener: Int,
    limits: HeadLimits, desync: DesyncMode
  ) {
    phase = transport.isEstablished ? .awaitingHead : .handshaking
    self.transport = transport
    self.peer = peer
    self.block = block
    self.listener = listener
    self.desync = desync
    parser = RequestParser(limits: limits, tolerates: desync.tolerates)
  }

  var exchange: Handle? {
    switch phase {
    case .exchanging(let exchange), .relaying(let exchange): exchange
    case .handshaking, .awaitingHead, .flushing, .lingering: nil
    }
  }

  /// Is all said that is to be said on it?
  var isEnding: Bool {
    switch phase {
    case .flushing, .lingering: true
    case .handshaking, .awaitingHead, .exchanging, .relaying: false
    }
  }

  /// What the request under way was forgiven.
  var tolerated: ToleratedReasons { parser.tolerated }

  /// Parses a head from what is there, and consumes it when it is complete.
  mutating func parseHead(into head: inout RequestHead) throws(HTTP1Error) -> Bool {
    guard try parser.take(from: &transport.inbound, into: &head) else { return false }
    requestCount += 1
    beganAt = nil
    return true
  }

  /// The method of a head that never became whole: an answer to HEAD must have no body even then.
  var likelyMethod: Method {
    let start: StaticString = "HEAD "
    let bytes = transport.inbound.bytes
    if bytes.count < start.bytes.count { return .get }
    return bytes.extracting(first: start.bytes.count).equals(start.bytes) ? .head : .get
  }
}
