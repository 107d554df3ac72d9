// Writes the framing around a body: the counterpart of `BodyDecoder`.
//
// It writes what comes before, between and after the pieces, and never touches payload. Only
// chunked bodies need framing; for the others it writes nothing, so a caller treats all bodies
// alike.

public import HTTP
public import Primitives

public struct BodyEncoder: Sendable {
  /// The maximum framing of one piece in bytes: 16 digits and two line ends.
  public static let overheadByteCount = 20

  private let isChunked: Bool

  public init(_ framing: BodyFraming) { isChunked = framing == .chunked }

  /// Writes what precedes a piece of `count` bytes. An empty piece writes nothing, since an empty
  /// chunk would end the body.
  public func beginPiece(count: Int, into output: inout ByteBuffer) {
    guard isChunked && count > 0 else { return }
    output.append(hexadecimal: UInt64(count))
    output.append("\r\n")
  }

  /// Writes what follows a piece of `count` bytes.
  public func endPiece(count: Int, into output: inout ByteBuffer) {
    if isChunked && count > 0 { output.append("\r\n") }
  }

  /// Writes what follows the last piece. Trailers that RFC 9110 6.5.1 forbids are left out.
  public func end(trailers: borrowing FieldBlock, into output: inout ByteBuffer) {
    guard isChunked else { return }
    output.append("0\r\n")
    trailers.writeLines(except: .forbiddenInTrailers, to: &output)
    output.append("\r\n")
  }

  /// Writes what follows the last piece of a body without trailers.
  public func end(into output: inout ByteBuffer) {
    if isChunked { output.append("0\r\n\r\n") }
  }
}
