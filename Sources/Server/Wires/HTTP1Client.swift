// The codec of HTTP/1 with a client, as a server.
//
// One exchange at a time: a pipelined request waits in the transport, and so in the client, until
// the response to the one before it is written (RFC 9112 9.3.2).

import HTTP
import HTTP1
import Primitives

struct HTTP1Client: ~Copyable {
  private var parser: RequestParser
  /// Of the body of the current request.
  private var decoder = BodyDecoder(.none)
  /// How the body of the current response is delimited.
  private(set) var outgoing = BodyFraming.none
  /// When the first part of an incomplete head arrived; nil between heads.
  var headBeganAt: Instant?
  /// Requests whose head was complete.
  private(set) var requestCount = 0
  /// The worker's turn in which the last one was.
  private(set) var headTurn: UInt64 = 0

  init(limits: HeadLimits, desync: DesyncMode) {
    parser = RequestParser(limits: limits, tolerates: desync.tolerates)
  }

  /// Which errors of the current request were tolerated.
  var tolerated: ToleratedReasons { parser.tolerated }

  /// Parses a head and consumes it when it is complete; false when more must come.
  mutating func parseHead(
    from inbound: inout ByteBuffer, into head: inout RequestHead, turn: UInt64
  ) throws(HTTP1Error) -> Bool {
    guard try parser.take(from: &inbound, into: &head) else { return false }
    requestCount += 1
    headBeganAt = nil
    headTurn = turn
    return true
  }

  /// The request whose head was read last has this body.
  mutating func expectBody(_ framing: BodyFraming, _ limits: BodyLimits) {
    decoder = BodyDecoder(framing, limits: limits)
  }

  mutating func nextPiece(
    in inbound: borrowing ByteBuffer, limit: Int, trailers: inout FieldBlock
  ) throws(HTTP1Error) -> BodyStep {
    try decoder.next(in: inbound, limit: limit, trailers: &trailers)
  }

  /// Whether another byte of the body is there.
  func hasPiece(in inbound: borrowing ByteBuffer) -> Bool { decoder.hasPiece(in: inbound) }

  /// The head of a response was written, or none is being written; its body is delimited like this.
  mutating func beginBody(_ framing: BodyFraming) { outgoing = framing }
}
