// The codec of HTTP/1 with a backend, as a client. It serves one exchange at a time.

import HTTP
import HTTP1
import Primitives

struct HTTP1Backend: ~Copyable {
  /// A login that a backend may bind to the connection. With one, it serves only that client.
  enum Login {
    case none
    /// The connection began with the header of one client's connection (PROXY protocol), and
    /// serves only that client anyway.
    case proxied
    /// A client sent such credentials, or the backend asked for them, but not both. The connection
    /// is closed after the response: neither a field nor a challenge is enough to hold one.
    case attempted
    /// The backend has answered such credentials with a challenge: the connection belongs to the
    /// client from then on.
    case bound
  }

  var login = Login.none
  /// The connection of the client that owns it by a login; `.none` before the first response.
  var owner = Handle.none
  /// The client's connection that the header named which began this one; `.none` without a header.
  var client = Handle.none
  /// How the body of the current request is delimited.
  private(set) var outgoing = BodyFraming.none
  private var rules: ResponseReading
  private var parser: ResponseParser
  private var decoder = BodyDecoder(.none)

  init(_ rules: ResponseReading) {
    self.rules = rules
    parser = ResponseParser(limits: rules.limits, rules: rules.desync)
  }

  /// The rules of the exchange that leases the connection; it may have begun after a reload.
  mutating func use(_ rules: ResponseReading) {
    if rules == self.rules { return }
    self.rules = rules
    parser = ResponseParser(limits: rules.limits, rules: rules.desync)
  }

  /// The head of the request was written; its body is delimited like this.
  mutating func beginBody(_ framing: BodyFraming) { outgoing = framing }

  /// Parses a response head and consumes it when it is complete; false when more must come.
  mutating func parseHead(
    from inbound: inout ByteBuffer, into head: inout ResponseHead
  ) throws(HTTP1Error) -> Bool {
    try parser.take(from: &inbound, into: &head)
  }

  mutating func expectBody(_ framing: BodyFraming) {
    decoder = BodyDecoder(framing, ofResponse: rules.desync)
  }

  mutating func nextPiece(
    in inbound: borrowing ByteBuffer, limit: Int, trailers: inout FieldBlock
  ) throws(HTTP1Error) -> BodyStep {
    try decoder.next(in: inbound, limit: limit, trailers: &trailers)
  }

  /// Whether another byte of the body is there.
  func hasPiece(in inbound: borrowing ByteBuffer) -> Bool { decoder.hasPiece(in: inbound) }

  /// The backend has finished sending; throws if that truncates the body.
  mutating func finishBody() throws(HTTP1Error) { try decoder.finish() }

  /// Which errors of the last head, and of the body so far, were tolerated.
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
}

/// How the responses of a pool are read.
struct ResponseReading: Equatable, Sendable {
  var limits = HeadLimits.responses
  var desync = ResponseRules.strict
}
