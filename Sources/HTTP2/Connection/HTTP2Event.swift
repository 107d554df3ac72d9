// What a connection reports to its owner, one event per call.
//
// Heads and trailers are in the workspace and pieces in the input. They are borrowed: use them
// before the next call. Streams are named by their identifier. An owner gets `request`, `response`
// and the like only for streams that it has not released.

public import HTTP
public import Primitives

public enum HTTP2Event: Equatable, Sendable {
  /// Nothing more happens until more bytes follow the unconsumed ones.
  case needsInput
  /// A frame that doesn't concern the owner. Call again.
  case progress

  /// As a server: a new stream with its head in `workspace.request`. `ends` when no body follows.
  case request(stream: UInt32, body: BodyLength, ends: Bool)
  /// As a client: a head in `workspace.response`; its status tells whether it is interim.
  case response(stream: UInt32, body: BodyLength, ends: Bool)
  /// Body bytes at this position of the input. The owner must take all of them, and calls
  /// `consumed` when it has processed them.
  case piece(stream: UInt32, place: Range<Int>, ends: Bool)
  /// The body ended without another byte.
  case end(stream: UInt32)
  /// The message ended with the fields in `workspace.trailers`.
  case trailers(stream: UInt32)

  /// The peer reset the stream. `isUnprocessed` when the peer says that it did not process it; then
  /// a request with any method may be sent again (RFC 9113 8.7). After NO_ERROR a complete response
  /// is valid, and only the rest of the request is unwanted (8.1).
  case reset(stream: UInt32, code: ErrorCode, isUnprocessed: Bool)
  /// We reset the stream because of an error of the peer; RST_STREAM is in the output.
  case failed(stream: UInt32, HTTP2Error)
  /// As a server: a new stream whose head exceeds a limit. It has an owner like any other; the
  /// owner answers with `error.status`.
  case excessive(stream: UInt32, HTTP2Error)
  /// As a server: a request was refused before it had an owner; RST_STREAM is in the output.
  case rejected(stream: UInt32, HTTP2Error)

  /// The peer's settings arrived: the number of streams that it accepts may have changed.
  case settingsChanged
  /// As a client: no new streams. Streams above `last` follow as unprocessed `reset` events.
  case goAway(last: UInt32, code: ErrorCode)
  /// The answer to a PING, and how long it took.
  case pingAcknowledged(TimeSpan)
  /// The connection has ended: send what is in the output, then close it. The owner must end all
  /// its streams. Every further call returns the same event.
  case broken(HTTP2Error)
}

/// The result of a call of `receive`.
public struct HTTP2Step: Equatable, Sendable {
  /// How many bytes of the input are consumed. A piece is within these bytes.
  public let consumed: Int
  public let event: HTTP2Event

  public init(consumed: Int, event: HTTP2Event) {
    self.consumed = consumed
    self.event = event
  }
}
