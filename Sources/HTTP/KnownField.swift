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

  /// The case whose name these bytes spell, in whatever case the letters are. The switch is over
  /// the length and, behind the underscore, the first letter.
  public init?(_ name: Span<UInt8>) {
    let candidate: KnownField
    guard let initial = name.count > 0 ? name[0].lowercased : nil else { return nil }
    // Several names of one length and first letter are told apart by one more character.
    switch name.count << 8 | Int(initial) {
    case 0x02_74: candidate = .te
    case 0x03_61: candidate = .age
    case 0x03_76: candidate = .via
    case 0x04_64: candidate = .date
    case 0x04_65: candidate = .etag
    case 0x04_68: candidate = .host
    case 0x04_76: candidate = .vary
    case 0x05_61: candidate = .allow
    case 0x05_70: candidate = .proxy
    case 0x05_72: candidate = .range
    case 0x06_61: candidate = .accept
    case 0x06_63: candidate = .cookie
    case 0x06_65: candidate = .expect
    case 0x06_6F: candidate = .origin
    case 0x06_73: candidate = .server
    case 0x07_61: candidate = .altSvc
    case 0x07_72: candidate = .referer
    case 0x07_74: candidate = .trailer
    case 0x07_75: candidate = .upgrade
    case 0x08_6C: candidate = .location
    case 0x09_66: candidate = .forwarded
    case 0x09_78: candidate = .xRealIP
    case 0x0A_63: candidate = .connection
    case 0x0A_6B: candidate = .keepAlive
    case 0x0A_73: candidate = .setCookie
    case 0x0A_74: candidate = .tracestate
    case 0x0A_75: candidate = .userAgent
    case 0x0B_72: candidate = .retryAfter
    case 0x0B_74: candidate = .traceparent
    case 0x0C_63: candidate = .contentType
    case 0x0C_6D: candidate = .maxForwards
    case 0x0C_78: candidate = .xRequestID
    case 0x0D_61: candidate = .authorization
    case 0x0D_63: candidate = .cacheControl
    case 0x0D_69: candidate = .ifNoneMatch
    case 0x0D_6C: candidate = .lastModified
    case 0x0E_63: candidate = .contentLength
    case 0x0E_68: candidate = .http2Settings
    case 0x0F_61: candidate = .acceptEncoding
    case 0x0F_78: candidate = .xForwardedFor
    case 0x10_63: candidate = .contentEncoding
    case 0x10_70: candidate = .proxyConnection
    case 0x10_77: candidate = .wwwAuthenticate
    case 0x10_78: candidate = name[12].lowercased == 0x68 ? .xForwardedHost : .xForwardedPort
    case 0x11_69: candidate = .ifModifiedSince
    case 0x11_73: candidate = .secWebSocketKey
    case 0x11_74: candidate = .transferEncoding
    case 0x11_78: candidate = .xForwardedProto
    case 0x12_70: candidate = .proxyAuthenticate
    case 0x13_70: candidate = .proxyAuthorization
    case 0x14_73: candidate = .secWebSocketAccept
    case 0x15_73: candidate = .secWebSocketVersion
    case 0x16_73: candidate = .secWebSocketProtocol
    case 0x18_73: candidate = .secWebSocketExtensions
    case 0x19_73: candidate = .strictTransportSecurity
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
