// How much may surround the payload of a chunked body, which is limited elsewhere.

public struct BodyLimits: Equatable, Sendable {
  /// Bytes of chunk extensions beyond those of the payload so far. Nobody needs extensions; a body
  /// of one-byte chunks with long ones would be a way to send much and have little of it counted.
  public var extensionByteCount: Int
  public var trailers: HeadLimits

  public init(extensionByteCount: Int = 16 * 1024, trailers: HeadLimits = .trailers) {
    self.extensionByteCount = extensionByteCount
    self.trailers = trailers
  }
}
