// The protocol version of a message, as used outside the codecs.

/// Ordered by age. Minor versions from 1.2 on count as 1.1 (RFC 9110 2.5).
public enum HTTPVersion: UInt8, Comparable, Sendable {
  case http10, http11, http2

  public static func < (left: HTTPVersion, right: HTTPVersion) -> Bool {
    left.rawValue < right.rawValue
  }

  /// The number alone, as in logs and traces.
  public var number: StaticString {
    switch self {
    case .http10: "1.0"
    case .http11: "1.1"
    case .http2: "2"
    }
  }

  /// With the protocol's name.
  public var name: StaticString {
    switch self {
    case .http10: "HTTP/1.0"
    case .http11: "HTTP/1.1"
    case .http2: "HTTP/2"
    }
  }
}
