// How long a message's body is, whatever the version that carries it.
//
// HTTP/1 maps this to Content-Length, chunked or end of connection (`BodyFraming` in HTTP1),
// HTTP/2 to END_STREAM flags. Whether a request announces a body is a fact of its own: `known(0)`
// is a body of no bytes, `none` is no body at all.

public enum BodyLength: Equatable, Sendable {
  /// The message ends with its head.
  case none
  /// So many bytes follow.
  case known(UInt64)
  /// Bytes follow until the sender says that it is done; trailers may come then.
  case streamed

  /// Whether no byte of a body will come.
  public var isEmpty: Bool { self == .none || self == .known(0) }
}
