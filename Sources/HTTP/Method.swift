// Request methods and what RFC 9110 9.2 promises about them.
//
// Only the methods that the proxy treats differently have a case; any other token is `other` and
// travels by its text (`RequestHead.methodName`). Method names are case-sensitive.

import Primitives

public enum Method: UInt8, Sendable, CaseIterable {
  case get, head, post, put, delete, connect, options, trace, patch
  /// Any other method, of which nothing is known: neither safe nor idempotent.
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

  /// Asks for no change of state (RFC 9110 9.2.1).
  public var isSafe: Bool {
    switch self {
    case .get, .head, .options, .trace: true
    case .post, .put, .delete, .connect, .patch, .other: false
    }
  }

  /// Has the same effect when it is carried out twice, and so may be retried on its own account
  /// (RFC 9110 9.2.2).
  public var isIdempotent: Bool { isSafe || self == .put || self == .delete }
}
