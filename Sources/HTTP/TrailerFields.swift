// Fields that have no place behind a body (RFC 9110 6.5.1) and that nothing else in Martlet needs
// to know. The others that have none are `KnownField`s or forwarding fields; Proxy/Trailers.swift
// puts them together.

extension FieldNames {
  static let headOnlyNames: [StaticString] = [
    // Request modifiers and what tells about the client.
    "If-Match", "If-Unmodified-Since", "If-Range", "Accept-Charset", "Accept-Language", "Pragma",
    "Prefer", "Early-Data", "X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "From",
    // Authentication and control of a response.
    "Set-Cookie2", "Cookie2", "Expires", "Warning", "Refresh", "Clear-Site-Data",
    "Content-Security-Policy", "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    // How to read the content.
    "Content-Range", "Content-Location", "Content-Language", "Content-Disposition",
  ]
}
