// Which trailers may follow a body, in either direction.
//
// RFC 9110 6.5.1 allows in trailers only fields that are defined for them, and none for framing,
// routing, request modifiers, authentication, response control or reading the content. Some
// programs read trailers as if they were header fields. So trailers follow the same rules as heads.
// Of the known fields only ETag is allowed; of the others, all that are not listed here and that
// the route doesn't edit.

public import HTTP
import Primitives

extension FieldBlock {
  /// Removes forbidden fields from a trailer section. Fields in `edits` are removed too: the route
  /// removes them or sets them in the head.
  public mutating func prepareTrailers(_ edits: [FieldEdit]) {
    if count == 0 { return }
    removeAll(of: .headOnly)
    removeLookalikes(of: .headOnly)
    for name in otherHeadOnlyNames { removeAll(named: name.bytes, alikeAmongFirst: count) }
    for edit in edits { removeAll(named: edit.name.span, alikeAmongFirst: count) }
  }
}

extension KnownFieldSet {
  /// All known fields except those defined for trailers (ETag: RFC 9110 8.8.3).
  fileprivate static let headOnly: KnownFieldSet = {
    var fields: KnownFieldSet = []
    for field in KnownField.allCases where field != .etag { fields.insert(field) }
    return fields
  }()
}

/// Fields of the same kinds that no other code in Martlet needs.
private let otherHeadOnlyNames: [StaticString] = [
  // Request modifiers and information about the client.
  "If-Match", "If-Unmodified-Since", "If-Range", "Accept-Charset", "Accept-Language", "Pragma",
  "Prefer", "Early-Data", "X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL",
  // The client's identity.
  "From", "Client-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Forwarded-By",
  "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-SSL",
  "X-Forwarded-User", "X-Remote-User", "Remote-User",
  // Authentication and control of a response.
  "Set-Cookie2", "Cookie2", "Expires", "Warning", "Refresh", "Clear-Site-Data",
  "Content-Security-Policy", "Access-Control-Allow-Origin",
  "Access-Control-Allow-Credentials",
  // How to read the content.
  "Content-Range", "Content-Location", "Content-Language", "Content-Disposition",
]
