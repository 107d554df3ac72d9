// What a stage makes of a body in one direction: pieces in, other pieces out. The output waits here
// until the receiving side has room, and is never more than one piece of input becomes.

import HTTP
import HTTP1
import Primitives
import Proxy

struct BodyTransform: ~Copyable {
  /// How the bytes are changed.
  enum Codec: Sendable {
    /// A request of gRPC-Web in its text form.
    case base64(Base64Decoder)
    /// A response of gRPC, for gRPC-Web. Its trailers become the last bytes of the body.
    case grpcWeb(GRPCWeb)
  }

  private var codec: Codec
  /// What was made, and the receiving side has not taken yet.
  var output = ByteBuffer()
  /// Whether the input has ended. Then the output is the rest.
  private(set) var hasEnded = false
  /// Of a response of gRPC: where its messages end.
  private var messages = GRPCMessages()

  init(_ codec: Codec) { self.codec = codec }

  /// The most that is taken of the input at once. Base64 makes 4 bytes of 3.
  static var inputMax: Int { 12 * 1024 }

  /// Takes a piece; false if it is malformed.
  mutating func take(
    _ input: borrowing ByteBuffer, _ range: Range<Int>, _ buffers: inout BufferPool
  ) -> Bool {
    if !output.hasStorage { output = buffers.takeLarge() }
    let bytes = input.bytes.extracting(range)
    switch codec {
    case .base64(var decoder):
      let isValid = decoder.decode(bytes, into: &output)
      codec = .base64(decoder)
      return isValid
    case .grpcWeb(let form):
      messages.take(bytes)
      switch form {
      case .binary: output.append(bytes)
      case .text: appendBase64(bytes, to: &output)
      }
    }
    return true
  }

  /// Whether it is a response of gRPC-Web that has no status yet, and whose last message is
  /// complete.
  var mayEndWithStatus: Bool {
    guard case .grpcWeb = codec else { return false }
    return !hasEnded && messages.isBetweenMessages
  }

  /// The input has ended, with these trailers; false if it must not end here.
  mutating func end(_ trailers: borrowing FieldBlock, _ buffers: inout BufferPool) -> Bool {
    hasEnded = true
    switch codec {
    case .base64(let decoder): return decoder.isComplete
    case .grpcWeb(let form):
      if !output.hasStorage { output = buffers.takeLarge() }
      switch form {
      case .binary: trailers.appendGRPCWebFrame(to: &output)
      case .text:
        var frame = ByteBuffer(capacity: 512)
        trailers.appendGRPCWebFrame(to: &frame)
        appendBase64(frame.bytes, to: &output)
      }
      return true
    }
  }

  /// The next piece of the output, of at most `limit` bytes; nil if there must be input first.
  func nextPiece(limit: Int) -> BodyStep? {
    if !output.isEmpty { return .piece(skip: 0, count: min(limit, output.count)) }
    return hasEnded ? .end(consumed: 0) : nil
  }
}
