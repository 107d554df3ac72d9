// How large a head may be.
//
// Every limit applies before the head is complete, so an endless head costs at most its limit in
// memory. A head that exceeds a limit is refused with an error of its own; nothing is cut off.

public struct HeadLimits: Equatable, Sendable {
  /// The whole head in bytes, including empty lines around it, plus `fieldOverhead` for each field.
  /// A head must fit into one receive block next to the start of its body. Cookies of large sites
  /// reach 8 to 16 KiB. nginx accepts 32 KiB in four pieces, HAProxy about 15, Envoy 60, Caddy and
  /// Traefik 1 MiB.
  public var headByteCount: Int
  /// The request target in bytes. RFC 9112 3 asks for at least 8000; nginx accepts 8 KiB, ALB 16.
  public var targetByteCount: Int
  /// Number of field lines. Browsers send 10 to 30. Envoy accepts 100, HAProxy 101, nginx 1000.
  public var fieldCount: Int

  public init(
    headByteCount: Int = 32 * 1024, targetByteCount: Int = 8 * 1024, fieldCount: Int = 100
  ) {
    self.headByteCount = headByteCount
    self.targetByteCount = targetByteCount
    self.fieldCount = fieldCount
  }

  /// For responses: whatever fits into one receive block. The application decides how large its
  /// heads are, so a lower limit has no benefit. Go's client accepts 10 MiB, Envoy 60 KiB.
  public static let responses = HeadLimits(
    headByteCount: 64 * 1024, targetByteCount: 0, fieldCount: 1000)

  /// For the trailers of a chunked body: a checksum, a status, a few timings.
  public static let trailers = HeadLimits(
    headByteCount: 8 * 1024, targetByteCount: 0, fieldCount: 32)

  /// For a head that a parser has already checked.
  public static let none = HeadLimits(
    headByteCount: 1 << 30, targetByteCount: 1 << 30, fieldCount: 1 << 30)

  /// What each field counts in addition to its bytes, as in HTTP/2 (RFC 9113 6.5.2).
  public static let fieldOverhead = 32
  /// The longest method of the IANA registry has 17 characters (UPDATEREDIRECTREF).
  static let methodByteCount = 32
  /// Interim responses (1xx) before a final one. A server that reports the progress of an upload or
  /// of a long search sends some hundred at most.
  public static let interimHeadCount = 256
  /// Empty lines before a request line, which RFC 9112 2.2 says to ignore: old clients send one
  /// after a POST body.
  static let emptyLineCount = 2
}
