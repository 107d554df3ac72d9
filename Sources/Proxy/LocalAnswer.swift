// Answers from Martlet itself: errors, redirects, fixed responses.
//
// They are short and reveal nothing about backends. ErrorExplanation writes the body of an error,
// since it depends on the client.

public import HTTP
import Primitives

/// A whole answer with a small body.
public struct LocalAnswer: Sendable {
  public enum Content: Sendable {
    /// The type may be empty.
    case fixed(type: [UInt8], body: [UInt8])
    /// An explanation of the status, which is an error.
    case explanation
  }

  public var status: UInt16
  public var content: Content
  /// The target of a redirect.
  public var location: [UInt8]?
  /// In seconds, for 503 and 429.
  public var retryAfter: UInt32?

  public init(
    status: UInt16, contentType: String = "text/plain; charset=utf-8", body: [UInt8],
    location: [UInt8]? = nil
  ) {
    self.status = status
    content = .fixed(type: Array(contentType.utf8), body: body)
    self.location = location
  }

  /// The answer for an error.
  public init(error status: UInt16) {
    self.status = status
    content = .explanation
    retryAfter = status == 503 ? Self.retryAfterSeconds : nil
  }

  /// A redirect; the body is for users whose client doesn't follow it.
  public init(redirect status: UInt16, to location: [UInt8]) {
    self.init(
      status: status, body: Array("Go to ".utf8) + location + [0x0A], location: location)
  }

  /// For clients that send plain HTTP to a TLS port.
  public static let plaintextOnTLSPort = LocalAnswer(
    status: 400, body: Array("This port speaks HTTPS: use https:// in the address.\n".utf8))

  /// For clients that send HTTP/1 where only HTTP/2 is spoken.
  public static let http2Only = LocalAnswer(
    status: 505, body: Array("This port speaks only HTTP/2.\n".utf8))

  /// Retry-After when no backend is available: about two health checks.
  private static let retryAfterSeconds: UInt32 = 10

  /// Fills in `head`, except for the fields that describe the body of an explanation. The codec
  /// writes the body's length.
  public func write(to head: inout ResponseHead) {
    head.reset()
    head.status = status
    if case .fixed(let type, let body) = content, !type.isEmpty, !body.isEmpty {
      head.fields.append(.contentType, type.span)
    }
    if let location { head.fields.append(.location, location.span) }
    if let retryAfter {
      head.fields.beginField(.retryAfter)
      head.fields.appendValue(decimal: UInt64(retryAfter))
      head.fields.endField()
    }
  }
}

/// Where to redirect a request: to its own URL with parts replaced.
public struct RedirectTarget: Sendable {
  public var scheme: [UInt8]?
  public var host: [UInt8]?
  /// Nil together with a new scheme means the scheme's default port.
  public var port: UInt16?
  /// Replaces the path; the query is kept unless this has its own.
  public var path: [UInt8]?

  public init(scheme: [UInt8]?, host: [UInt8]?, port: UInt16?, path: [UInt8]?) {
    self.scheme = scheme
    self.host = host
    self.port = port
    self.path = path
  }

  /// The absolute URL for this request; nil when it contains no host.
  public func location(for head: borrowing RequestHead, isTLS: Bool) -> [UInt8]? {
    var url = ByteBuffer(capacity: 256)
    if let scheme { url.append(scheme.span) } else { url.append(isTLS ? "https" : "http") }
    url.append("://")
    if let host {
      url.append(host.span)
    } else {
      if head.host.isEmpty { return nil }
      url.append(head.bytes(of: head.host))
    }
    if let port = port ?? (scheme == nil && host == nil ? head.port : nil) {
      url.append(0x3A)
      url.append(decimal: UInt64(port))
    }
    if let path {
      url.append(path.span)
    } else if head.targetForm == .asterisk || head.path.isEmpty {
      url.append(0x2F)
    } else {
      url.append(head.bytes(of: head.path))
    }
    if let query = head.query, path?.contains(0x3F) != true {
      url.append(0x3F)
      url.append(head.bytes(of: query))
    }
    return url.array(0..<url.count)
  }
}
