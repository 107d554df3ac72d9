// Puts the framing around a body: the counterpart of `BodyDecoder`.
//
// It writes what belongs before, behind and after the pieces, and never touches payload. For every
// framing but chunks that is nothing, so a driver writes all bodies in one way.

public import HTTP
public import Primitives

public struct BodyEncoder: Sendable {
  /// The most bytes that one piece costs beyond its payload: 16 digits and two line ends.
  public static let overheadByteCount = 20

  private let isChunked: Bool

  public init(_ framing: BodyFraming) { isChunked = framing == .chunked }

  /// Before a piece of `count` bytes. A piece of none is skipped altogether, since an empty chunk
  /// would end the body.
  public func beginPiece(count: Int, into output: inout ByteBuffer) {
    guard isChunked && count > 0 else { return }
    output.append(hexadecimal: UInt64(count))
    output.append("\r\n")
  }

  /// Behind a piece of `count` bytes.
  public func endPiece(count: Int, into output: inout ByteBuffer) {
    if isChunked && count > 0 { output.append("\r\n") }
  }

  /// After the last piece. Trailers that must not be there are left out (RFC 9110 6.5.1).
  public func end(trailers: borrowing FieldBlock, into output: inout ByteBuffer) {
    guard isChunked else { return }
    output.append("0\r\n")
    trailers.writeLines(except: .forbiddenInTrailers, to: &output)
    output.append("\r\n")
  }

  /// After the last piece of a body without trailers.
  public func end(into output: inout ByteBuffer) {
    if isChunked { output.append("0\r\n\r\n") }
  }
}
