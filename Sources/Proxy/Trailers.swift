// Which trailers may follow a body, in either direction.
//
// RFC 9110 6.5.1 wants in trailers only what is defined for them, and nothing that frames, routes,
// modifies a request, tells who somebody is, controls a response or says how to read its content.
// Programs read some trailers as if they were fields of the head. So whatever a rule of ours keeps
// out of a head it keeps out of trailers too: of the fields that we know only ETag may be there, of
// the others all that are neither forwarding fields (HTTP/ForwardingFields.swift) nor listed in
// HTTP/TrailerFields.swift, unless the route edits them. Trailers that the head's Connection names
// are for one hop: a message whose Connection names fields of its own loses all its trailers, which
// RFC 9110 6.5.1 allows.

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
