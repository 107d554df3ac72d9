// What may travel behind a body, in either direction.
//
// RFC 9110 6.5.1 wants in trailers only what is defined for them, and nothing that frames, routes,
// modifies a request, tells who somebody is, controls a response or says how to read its content.
// Programs read some trailers as if they were fields of the head. So whatever a rule of ours keeps
// out of a head it keeps out of trailers too: of the fields that we know only ETag may be there, of
// the others all that are not listed here, unless the route edits them.

public import HTTP
import Primitives

extension FieldBlock {
  /// Leaves in a trailer section what may be there. What `edits` remove goes; what they set is set
  /// in the head, so a trailer of that name goes as well.
  public mutating func prepareTrailers(_ edits: [FieldEdit]) {
    if count == 0 { return }
    removeAll(of: .headOnly)
    removeLookalikes(of: .headOnly)
    for name in otherHeadOnlyNames { removeAll(named: name.bytes, alikeAmongFirst: count) }
    for edit in edits { removeAll(named: edit.name.span, alikeAmongFirst: count) }
  }
}

extension KnownFieldSet {
  /// All known fields but those that are defined for trailers (ETag: RFC 9110 8.8.3).
  fileprivate static let headOnly: KnownFieldSet = {
    var fields: KnownFieldSet = []
    for field in KnownField.allCases where field != .etag { fields.insert(field) }
    return fields
  }()
}

/// Fields of the same kinds that nothing else in Martlet needs to know.
private let otherHeadOnlyNames: [StaticString] = [
  // Request modifiers and what tells about the client.
  "If-Match", "If-Unmodified-Since", "If-Range", "Accept-Charset", "Accept-Language", "Pragma",
  "Prefer", "Early-Data", "X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL",
  // Who asked.
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
