// The right of one attempt to use a stream of a connection to a backend.
//
// It can't be copied, so it ends once, and says how. It knows how much the connection had sent when
// it began, so that retry rules can ask what the backend may have got of this attempt.

import Primitives

struct Lease: ~Copyable {
  /// In what state it leaves the stream.
  enum Ending {
    /// The response is complete, and another exchange may follow.
    case reusable
    /// The connection failed, or is in the middle of a message.
    case broken
    /// The same, and the backend must see that it is no regular end.
    case reset
  }

  private(set) var stream: StreamID
  /// Bytes that the connection had sent when the lease began, or when its TLS handshake was done.
  /// In HTTP/2: what it will have sent before the stream.
  var sentBefore: UInt64

  init(_ stream: StreamID, sentBefore: UInt64) {
    self.stream = stream
    self.sentBefore = sentBefore
  }

  var connection: Handle { stream.connection }

  /// In HTTP/2, the stream begins with the head of the request.
  mutating func open(_ stream: UInt32, sentBefore count: UInt64) {
    self.stream = StreamID(connection: connection, stream: stream)
    sentBefore = count
  }

  /// Ends the lease; the caller releases the stream.
  consuming func end() -> StreamID { stream }
}
