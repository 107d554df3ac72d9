// Request methods and what RFC 9110 9.2 promises about them.
//
// Only methods that the proxy treats differently have a case. Any other token is `other`; its text
// is in `RequestHead.methodName`. Method names are case-sensitive.

import Primitives

public enum Method: UInt8, Sendable, CaseIterable {
  case get, head, post, put, delete, connect, options, trace, patch
  /// Any other method: assumed to be neither safe nor idempotent.
  case other

  public init(_ name: Span<UInt8>) {
    let candidate: Method
    switch name.count {
    case 3: candidate = name[0] == 0x47 ? .get : .put
    case 4: candidate = name[0] == 0x48 ? .head : .post
    case 5: candidate = name[0] == 0x50 ? .patch : .trace
    case 6: candidate = .delete
    case 7: candidate = name[0] == 0x43 ? .connect : .options
    default:
      self = .other
      return
    }
    self = name.equals(candidate.name.bytes) ? candidate : .other
  }

  /// As on the wire; empty for `other`.
  public var name: StaticString {
    switch self {
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .connect: "CONNECT"
    case .options: "OPTIONS"
    case .trace: "TRACE"
    case .patch: "PATCH"
    case .other: ""
    }
  }

  /// The request asks for no change of state (RFC 9110 9.2.1).
  public var isSafe: Bool {
    switch self {
    case .get, .head, .options, .trace: true
    case .post, .put, .delete, .connect, .patch, .other: false
    }
  }

  /// Carrying it out twice has the same effect as once, so a proxy may retry it (RFC 9110 9.2.2).
  public var isIdempotent: Bool { isSafe || self == .put || self == .delete }
}
