// What a connection tells its owner, one event for each call.
//
// Heads and trailers lie in the workspace and pieces in the input: lent, and to be used before the
// next call. Streams are named by their identifier. An owner gets `request`, `response` and the
// like only for streams that it has not released.

public import HTTP
public import Primitives

public enum HTTP2Event: Equatable, Sendable {
  /// Nothing more happens until more bytes come behind those that are left.
  case needsInput
  /// A frame that is no matter of the owner's. Call again.
  case progress

  /// As a server: a new stream, with its head in `workspace.request`. `ends` when no body comes.
  case request(stream: UInt32, body: BodyLength, ends: Bool)
  /// As a client: a head in `workspace.response`, which is interim if its status says so.
  case response(stream: UInt32, body: BodyLength, ends: Bool)
  /// Body bytes at this place of the input. The owner takes all of them, and tells by `consumed`
  /// when it is done with them.
  case piece(stream: UInt32, place: Range<Int>, ends: Bool)
  /// The body ended without another byte.
  case end(stream: UInt32)
  /// The message ended with the fields in `workspace.trailers`.
  case trailers(stream: UInt32)

  /// The peer gave the stream up. `isUnprocessed` when it says that it did nothing with it, so that
  /// the request may be sent again whatever its method (RFC 9113 8.7). After NO_ERROR a complete
  /// response is valid, and only the rest of the request is unwanted (8.1).
  case reset(stream: UInt32, code: ErrorCode, isUnprocessed: Bool)
  /// We gave the stream up by the peer's fault, and have told it.
  case failed(stream: UInt32, HTTP2Error)
  /// As a server: a new stream whose head is larger than a limit. It has an owner like any other,
  /// who answers it with `error.status`.
  case excessive(stream: UInt32, HTTP2Error)
  /// As a server: a request was refused before it had an owner; the peer has been told.
  case rejected(stream: UInt32, HTTP2Error)

  /// The peer's settings came: how many streams it takes may have changed.
  case settingsChanged
  /// As a client: no new streams. Those above `last` follow as `reset` events, unprocessed.
  case goAway(last: UInt32, code: ErrorCode)
  /// The answer to a PING, and how long it took.
  case pingAcknowledged(TimeSpan)
  /// The connection is over: what is in the output is to be sent, then it is closed. The owner ends
  /// all its streams. Every further call gives the same.
  case broken(HTTP2Error)
}

/// What became of a call of `receive`.
public struct HTTP2Step: Equatable, Sendable {
  /// How many bytes of the input are done with. A piece lies within these.
  public let consumed: Int
  public let event: HTTP2Event

  public init(consumed: Int, event: HTTP2Event) {
    self.consumed = consumed
    self.event = event
  }
}
