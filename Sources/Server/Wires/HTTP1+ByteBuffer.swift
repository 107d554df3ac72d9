// The parsers and decoders on the buffers of connections: clients', backends' and health checks'.
//
// A function takes the parser and the buffer as two arguments, so the compiler sees two separate
// accesses, even if both belong to one connection.

import HTTP
import HTTP1
import Primitives

extension RequestParser {
  /// Parses a head and consumes it when it is complete; false when more must come.
  mutating func take(
    from inbound: inout ByteBuffer, into head: inout RequestHead
  ) throws(HTTP1Error) -> Bool {
    switch try parse(inbound.bytes, into: &head) {
    case .incomplete:
      return false
    case .complete(let byteCount):
      inbound.consume(byteCount)
      return true
    }
  }
}

extension ResponseParser {
  /// Parses a head and consumes it when it is complete; false when more must come.
  mutating func take(
    from inbound: inout ByteBuffer, into head: inout ResponseHead
  ) throws(HTTP1Error) -> Bool {
    switch try parse(inbound.bytes, into: &head) {
    case .incomplete:
      return false
    case .complete(let byteCount):
      inbound.consume(byteCount)
      return true
    }
  }
}

extension BodyDecoder {
  /// The next step, with a piece of at most `limit` bytes. The caller consumes what it has taken.
  mutating func next(
    in inbound: borrowing ByteBuffer, limit: Int, trailers: inout FieldBlock
  ) throws(HTTP1Error) -> BodyStep {
    try next(inbound.bytes, limit: limit, trailers: &trailers)
  }

  /// Whether another byte of data is there, and not only framing, an end or an error.
  func hasPiece(in inbound: borrowing ByteBuffer) -> Bool {
    if isComplete || inbound.isEmpty { return false }
    var probe = self
    var trailers = FieldBlock()
    guard let step = try? probe.next(in: inbound, limit: .max, trailers: &trailers) else {
      return false
    }
    if case .piece = step { return true } else { return false }
  }
}
