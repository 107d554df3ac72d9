// The field names that some part of the proxy must recognise.
//
// A name is looked up once, when its field enters a `FieldBlock`: by length and first letter, then
// one comparison without case. From then on everybody asks for the case, never for text. There are
// at most 64 cases, so that a set of them is one word.

import Primitives

public enum KnownField: UInt8, Sendable, CaseIterable {
  // Framing and connection.
  case host, connection, contentLength, transferEncoding, te, trailer, upgrade, expect
  case keepAlive, proxyConnection, proxyAuthenticate, proxyAuthorization, http2Settings
  case maxForwards, via
  /// No standard field; CGI programs read it as the variable HTTP_PROXY.
  case proxy
  // Who asked, and by which way.
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

  /// The case whose name these bytes spell, in whatever case the letters are.
  public init?(_ name: Span<UInt8>) {
    let candidate: KnownField
    guard let initial = name.count > 0 ? name[0].lowercased : nil else { return nil }
    // Several names of one length and first letter are told apart by one more character.
    switch (name.count, initial) {
    case (2, 0x74): candidate = .te
    case (3, 0x61): candidate = .age
    case (3, 0x76): candidate = .via
    case (4, 0x64): candidate = .date
    case (4, 0x65): candidate = .etag
    case (4, 0x68): candidate = .host
    case (4, 0x76): candidate = .vary
    case (5, 0x61): candidate = .allow
    case (5, 0x70): candidate = .proxy
    case (5, 0x72): candidate = .range
    case (6, 0x61): candidate = .accept
    case (6, 0x63): candidate = .cookie
    case (6, 0x65): candidate = .expect
    case (6, 0x6F): candidate = .origin
    case (6, 0x73): candidate = .server
    case (7, 0x61): candidate = .altSvc
    case (7, 0x72): candidate = .referer
    case (7, 0x74): candidate = .trailer
    case (7, 0x75): candidate = .upgrade
    case (8, 0x6C): candidate = .location
    case (9, 0x66): candidate = .forwarded
    case (9, 0x78): candidate = .xRealIP
    case (10, 0x63): candidate = .connection
    case (10, 0x6B): candidate = .keepAlive
    case (10, 0x73): candidate = .setCookie
    case (10, 0x74): candidate = .tracestate
    case (10, 0x75): candidate = .userAgent
    case (11, 0x72): candidate = .retryAfter
    case (11, 0x74): candidate = .traceparent
    case (12, 0x63): candidate = .contentType
    case (12, 0x6D): candidate = .maxForwards
    case (12, 0x78): candidate = .xRequestID
    case (13, 0x61): candidate = .authorization
    case (13, 0x63): candidate = .cacheControl
    case (13, 0x69): candidate = .ifNoneMatch
    case (13, 0x6C): candidate = .lastModified
    case (14, 0x63): candidate = .contentLength
    case (14, 0x68): candidate = .http2Settings
    case (15, 0x61): candidate = .acceptEncoding
    case (15, 0x78): candidate = .xForwardedFor
    case (16, 0x63): candidate = .contentEncoding
    case (16, 0x70): candidate = .proxyConnection
    case (16, 0x77): candidate = .wwwAuthenticate
    case (16, 0x78): candidate = name[12].lowercased == 0x68 ? .xForwardedHost : .xForwardedPort
    case (17, 0x69): candidate = .ifModifiedSince
    case (17, 0x73): candidate = .secWebSocketKey
    case (17, 0x74): candidate = .transferEncoding
    case (17, 0x78): candidate = .xForwardedProto
    case (18, 0x70): candidate = .proxyAuthenticate
    case (19, 0x70): candidate = .proxyAuthorization
    case (20, 0x73): candidate = .secWebSocketAccept
    case (21, 0x73): candidate = .secWebSocketVersion
    case (22, 0x73): candidate = .secWebSocketProtocol
    case (24, 0x73): candidate = .secWebSocketExtensions
    case (25, 0x73): candidate = .strictTransportSecurity
    default: return nil
    }
    guard name.equalsIgnoringCase(candidate.name.bytes) else { return nil }
    self = candidate
  }

  /// The name as RFCs write it, which is how HTTP/1 sends it.
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

  public init(arrayLiteral fields: KnownField...) {
    for field in fields { insert(field) }
  }

  @inlinable
  public mutating func insert(_ field: KnownField) { bits |= 1 &<< UInt64(field.rawValue) }

  @inlinable
  public func contains(_ field: KnownField) -> Bool { bits &>> UInt64(field.rawValue) & 1 == 1 }

  @inlinable
  public func isDisjoint(with other: KnownFieldSet) -> Bool { bits & other.bits == 0 }
}
