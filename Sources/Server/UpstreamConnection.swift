// One connection to a backend: its transport, whom it serves, and how far the HTTP/1 codec has got
// with the answer. It belongs to one worker, which leases it to one exchange at a time.

import Balancing
import HTTP
import HTTP1
import Primitives

struct UpstreamConnection: ~Copyable {
  enum Phase {
    case dialling(exchange: Handle)
    case leased(exchange: Handle)
    /// In the worker's stock of idle connections, since an instant.
    case idle(since: Instant)
    /// Waits for the next request of the one client's connection that it belongs to (`owner`).
    case reserved
    case relaying(exchange: Handle)
  }

  /// A login that a backend may bind to the connection. With one, it serves only that client.
  enum Login {
    case none
    /// A client sent such credentials, or the backend asked for them, but not both. The connection
    /// is closed after the answer: neither a field nor a visit is enough to hold one.
    case attempted
    /// The backend has answered such credentials with a challenge: the connection belongs to the
    /// client from then on.
    case bound
  }

  var transport: Transport
  var phase: Phase
  let backend: BackendRecord
  let keepAlive: KeepAlive
  /// Whether a client has logged in by it, or may have.
  var login = Login.none
  /// The client's connection that it belongs to for that reason; `.none` before the first answer.
  var owner = Handle.none
  /// `transport.sentByteCount` when the current lease began.
  private(set) var sentBeforeLease: UInt64 = 0

  private var rules: ResponseReading
  private var parser: ResponseParser
  private var decoder = BodyDecoder(.none)

  var deadline = Deadline()
  var isQueued = false
  var isQueuedToFlush = false

  init(
    _ transport: consuming Transport, backend: BackendRecord, keepAlive: KeepAlive,
    for exchange: Handle, rules: ResponseReading
  ) {
    self.transport = transport
    self.backend = backend
    self.keepAlive = keepAlive
    phase = .dialling(exchange: exchange)
    self.rules = rules
    parser = ResponseParser(limits: rules.limits, rules: rules.desync)
  }

  var exchange: Handle? {
    switch phase {
    case .dialling(let exchange), .leased(let exchange), .relaying(let exchange): exchange
    case .idle, .reserved: nil
    }
  }

  /// `rules` are those of the exchange, which may have begun after a reload.
  mutating func lease(to exchange: Handle, rules: ResponseReading) {
    phase = .leased(exchange: exchange)
    sentBeforeLease = transport.sentByteCount
    if rules == self.rules { return }
    self.rules = rules
    parser = ResponseParser(limits: rules.limits, rules: rules.desync)
  }

  /// How many bytes the socket has taken since the lease began.
  var takenByteCount: UInt64 { transport.sentByteCount - sentBeforeLease }

  /// Parses a response head from what is there, and consumes it when it is complete.
  mutating func parseHead(into head: inout ResponseHead) throws(HTTP1Error) -> Bool {
    try parser.take(from: &transport.inbound, into: &head)
  }

  mutating func expectBody(_ framing: BodyFraming) {
    decoder = BodyDecoder(framing, ofResponse: rules.desync)
  }

  /// What the last head, and the body so far, were forgiven.
  var toleratedInHead: ToleratedReasons { parser.tolerated }
  var toleratedInBody: ToleratedReasons { decoder.tolerated }

  /// Whether `error`, with which reading a head has ended, shows that the backend is broken.
  func isBlamed(forHead error: HTTP1Error) -> Bool {
    !error.isAboutFields || !parser.hasStatusLine
  }

  /// The same for a body. Only errors in its trailers can be caused by clients; chunks come from
  /// the backend itself.
  func isBlamed(forBody error: HTTP1Error) -> Bool {
    !error.isAboutFields || !decoder.isInTrailers
  }

  /// The next piece of the response's body, of at most `limit` bytes. It lies `skip` bytes into
  /// `inbound`; the caller consumes skip + count bytes when it has taken it.
  mutating func nextBodyPiece(
    limit: Int, trailers: inout FieldBlock
  ) throws(HTTP1Error) -> BodyStep {
    try decoder.next(in: transport.inbound, limit: limit, trailers: &trailers)
  }

  /// The backend has finished sending; throws when that cuts the body short.
  mutating func finishBody() throws(HTTP1Error) { try decoder.finish() }
}

/// How the responses of a pool are read.
struct ResponseReading: Equatable, Sendable {
  var limits = HeadLimits.responses
  var desync = ResponseRules.strict
}
