// How long a message's body is, in terms that don't depend on the HTTP version.
//
// HTTP/1 maps this to Content-Length, chunked or end of connection (`BodyFraming` in HTTP1), HTTP/2
// to END_STREAM flags. `known(0)` is a body without bytes, `none` is no body at all: a request can
// announce an empty body.

public enum BodyLength: Equatable, Sendable {
  /// The message ends with its head.
  case none
  /// Exactly this number of bytes follows.
  case known(UInt64)
  /// Bytes follow until the sender ends the body, possibly with trailers.
  case streamed

  /// Whether no byte of a body will come.
  public var isEmpty: Bool { self == .none || self == .known(0) }
}
