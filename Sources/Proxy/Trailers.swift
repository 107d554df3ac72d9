// Which trailers may follow a body, in either direction.
//
// RFC 9110 6.5.1 allows only trailers that are defined as such, and none for framing, routing,
// request modifiers, authentication, response control or the content format. Some programs read
// trailers as if they were fields of the head. So every rule that removes a field from a head
// applies to trailers too. Of the known fields only ETag is allowed. Of the others, all are allowed
// except forwarding fields (HTTP/ForwardingFields.swift), those in HTTP/TrailerFields.swift, and
// those that the route edits. Trailers that Connection names are for one connection: if Connection
// names unknown fields, all trailers are removed, which RFC 9110 6.5.1 allows.

public import HTTP
import Primitives

extension FieldBlock {
  /// Removes forbidden fields from a trailer section. Fields in `edits` are removed too: the route
  /// removes them or sets them in the head.
  public mutating func prepareTrailers(_ edits: [FieldEdit]) {
    if count == 0 { return }
    removeAll(of: KnownFieldSet.headOnly)
    removeLookalikes(of: KnownFieldSet.headOnly)
    removeAll(of: FieldNames.forwarding)
    removeAll(of: FieldNames.headOnly)
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
