// The field names that some part of the proxy must recognise.
//
// A name is looked up once, when its field enters a `FieldBlock`: by its length and two letters,
// then with one comparison that ignores case. After that, code compares the enum case and never the
// text. There are at most 64 cases, so a set of them is one word.

import Primitives

public enum KnownField: UInt8, Sendable, CaseIterable {
  // Framing and connection.
  case host, connection, contentLength, transferEncoding, te, trailer, upgrade, expect
  case keepAlive, proxyConnection, proxyAuthenticate, proxyAuthorization, http2Settings
  case maxForwards, via
  /// Not a standard field. CGI programs read it as the variable HTTP_PROXY.
  case proxy
  // The client and the proxies in between.
  case forwarded, xForwardedFor, xForwardedProto, xForwardedHost, xForwardedPort, xRealIP
  case xRequestID, traceparent, tracestate
  // Read or set by stages, routes, health checks and logs.
  case accept, acceptEncoding, authorization, cookie, setCookie, origin, referer, userAgent
  case range, ifNoneMatch, ifModifiedSince
  case age, allow, cacheControl, contentEncoding, contentType, date, etag, lastModified, location
  case retryAfter, server, strictTransportSecurity, vary, wwwAuthenticate, altSvc
  // Relays.
  case secWebSocketKey, secWebSocketAccept, secWebSocketVersion, secWebSocketProtocol
  case secWebSocketExtensions

  /// The most cases, because a set of them is one word.
  static var countMax: Int { 64 }

  /// The case with this name, in any letter case.
  public init?(_ name: Span<UInt8>) {
    guard name.count > 0 else { return nil }
    let slots = Self.slots.bytes
    var slot = Self.slot(name)
    while let candidate = KnownField(rawValue: slots[slot] &- 0x30) {
      if name.equalsIgnoringCase(candidate.name.bytes) {
        self = candidate
        return
      }
      slot = (slot + 1) & 0xFF
    }
    return nil
  }

  /// The raw values of all cases by `slot`, or in the next free slot after it. Each is a character,
  /// from "0" on; "." is a free slot. A literal, because a table that is computed at its first use
  /// costs a call for each lookup. KnownFieldTests compares it with the names.
  static var slots: StaticString {
    """
    .<1...N.0...f.T..K..CD?.......9G....P...B..X...4.........@..J.Q.\
    .....g.:...V.....[U.........S...2E.._=..I;......b............O..\
    >Y^..............W...L......c...FZ......3........`.......5......\
    ..........6..............M....\\.7]d....a.8...........e.H.A.R....
    """
  }

  /// A hash of the length and of the first and last letter. These factors give nearly every name a
  /// slot without collision.
  @inline(__always)
  static func slot(_ name: Span<UInt8>) -> Int {
    let first = Int(name[0] | 0x20)
    let last = Int(name[name.count - 1] | 0x20)
    return (name.count &* 25 &+ first &* 30 &+ last) & 0xFF
  }

  /// The name as RFCs write it, and as HTTP/1 sends it.
  public var name: StaticString {
    switch self {
    case .host: "Host"
    case .connection: "Connection"
    case .contentLength: "Content-Length"
    case .transferEncoding: "Transfer-Encoding"
    case .te: "TE"
    case .trailer: "Trailer"
    case .upgrade: "Upgrade"
    case .expect: "Expect"
    case .keepAlive: "Keep-Alive"
    case .proxyConnection: "Proxy-Connection"
    case .proxyAuthenticate: "Proxy-Authenticate"
    case .proxyAuthorization: "Proxy-Authorization"
    case .http2Settings: "HTTP2-Settings"
    case .maxForwards: "Max-Forwards"
    case .via: "Via"
    case .proxy: "Proxy"
    case .forwarded: "Forwarded"
    case .xForwardedFor: "X-Forwarded-For"
    case .xForwardedProto: "X-Forwarded-Proto"
    case .xForwardedHost: "X-Forwarded-Host"
    case .xForwardedPort: "X-Forwarded-Port"
    case .xRealIP: "X-Real-IP"
    case .xRequestID: "X-Request-ID"
    case .traceparent: "traceparent"
    case .tracestate: "tracestate"
    case .accept: "Accept"
    case .acceptEncoding: "Accept-Encoding"
    case .authorization: "Authorization"
    case .cookie: "Cookie"
    case .setCookie: "Set-Cookie"
    case .origin: "Origin"
    case .referer: "Referer"
    case .userAgent: "User-Agent"
    case .range: "Range"
    case .ifNoneMatch: "If-None-Match"
    case .ifModifiedSince: "If-Modified-Since"
    case .age: "Age"
    case .allow: "Allow"
    case .cacheControl: "Cache-Control"
    case .contentEncoding: "Content-Encoding"
    case .contentType: "Content-Type"
    case .date: "Date"
    case .etag: "ETag"
    case .lastModified: "Last-Modified"
    case .location: "Location"
    case .retryAfter: "Retry-After"
    case .server: "Server"
    case .strictTransportSecurity: "Strict-Transport-Security"
    case .vary: "Vary"
    case .wwwAuthenticate: "WWW-Authenticate"
    case .altSvc: "Alt-Svc"
    case .secWebSocketKey: "Sec-WebSocket-Key"
    case .secWebSocketAccept: "Sec-WebSocket-Accept"
    case .secWebSocketVersion: "Sec-WebSocket-Version"
    case .secWebSocketProtocol: "Sec-WebSocket-Protocol"
    case .secWebSocketExtensions: "Sec-WebSocket-Extensions"
    }
  }
}

/// A set of known fields in one word.
public struct KnownFieldSet: Sendable, ExpressibleByArrayLiteral {
  @usableFromInline internal var bits: UInt64 = 0

  @inlinable @inline(__always)
  public init(arrayLiteral fields: KnownField...) {
    for field in fields { insert(field) }
  }

  @inlinable
  public mutating func insert(_ field: KnownField) { bits |= 1 &<< UInt64(field.rawValue) }

  @inlinable
  public mutating func formUnion(_ other: KnownFieldSet) { bits |= other.bits }

  @inlinable
  public mutating func subtract(_ other: KnownFieldSet) { bits &= ~other.bits }

  @inlinable
  public func contains(_ field: KnownField) -> Bool { bits &>> UInt64(field.rawValue) & 1 == 1 }

  @inlinable
  func intersection(_ other: KnownFieldSet) -> KnownFieldSet {
    var common = self
    common.bits &= other.bits
    return common
  }

  /// Takes a field out of the set; nil when it is empty.
  mutating func popFirst() -> KnownField? {
    if bits == 0 { return nil }
    let field = KnownField(rawValue: UInt8(truncatingIfNeeded: bits.trailingZeroBitCount))
    bits &= bits &- 1
    return field
  }

  @inlinable
  public func isDisjoint(with other: KnownFieldSet) -> Bool { bits & other.bits == 0 }
}

extension KnownFieldSet {
  /// Fields that a trailer section must not contain (RFC 9110 6.5.1): framing, routing, request
  /// modifiers, authentication, response control, and fields that describe how to read the content.
  public static let forbiddenInTrailers: KnownFieldSet = {
    var fields: KnownFieldSet = [
      .connection, .keepAlive, .proxyConnection, .contentLength, .transferEncoding,
      .host, .te, .trailer, .upgrade, .expect, .maxForwards, .range, .ifNoneMatch,
      .ifModifiedSince, .authorization, .proxyAuthenticate, .proxyAuthorization,
      .wwwAuthenticate, .cookie, .setCookie, .age, .cacheControl, .date, .location, .retryAfter,
      .vary, .contentEncoding, .contentType,
    ]
    fields.formUnion(.forwarding)
    return fields
  }()
}
