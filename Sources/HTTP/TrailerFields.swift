// Fields that are not allowed in trailers (RFC 9110 6.5.1) and that no other code of Martlet uses.
// The other ones are `KnownField`s or forwarding fields; Proxy/Trailers.swift combines them.

extension FieldNames {
  static let headOnlyNames: [StaticString] = [
    // Request modifiers and information about the client.
    "If-Match", "If-Unmodified-Since", "If-Range", "Accept-Charset", "Accept-Language", "Pragma",
    "Prefer", "Early-Data", "X-HTTP-Method-Override", "From",
    // Authentication and control of a response.
    "Set-Cookie2", "Cookie2", "Expires", "Warning", "Refresh", "Clear-Site-Data",
    "Content-Security-Policy", "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    // How to read the content.
    "Content-Range", "Content-Location", "Content-Language", "Content-Disposition",
  ]
}
