// Limits of what surrounds the payload of a chunked body. The payload itself is limited elsewhere.

public struct BodyLimits: Equatable, Sendable {
  /// Bytes of chunk extensions minus bytes of payload so far. No application needs extensions, and
  /// one-byte chunks with long extensions would send many bytes that no body limit counts.
  public var extensionByteCount: Int
  public var trailers: HeadLimits

  public init(extensionByteCount: Int = 16 * 1024, trailers: HeadLimits = .trailers) {
    self.extensionByteCount = extensionByteCount
    self.trailers = trailers
  }
}
