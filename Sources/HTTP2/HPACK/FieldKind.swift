// The kind of a decoded field name. A literal name is looked up and checked once; the result is
// stored with the name in the dynamic table.
//
// One byte: the number of a known field, or one of the codes above those.

import HTTP
import Primitives

struct FieldKind: Equatable {
  let rawValue: UInt8

  // Pseudo-fields (RFC 9113 8.3, RFC 8441 4).
  static let method = FieldKind(rawValue: 0xC0)
  static let scheme = FieldKind(rawValue: 0xC1)
  static let authority = FieldKind(rawValue: 0xC2)
  static let path = FieldKind(rawValue: 0xC3)
  static let status = FieldKind(rawValue: 0xC4)
  static let `protocol` = FieldKind(rawValue: 0xC5)
  static let unknownPseudo = FieldKind(rawValue: 0xCF)
  /// A valid name that is not a known field.
  static let other = FieldKind(rawValue: 0xF0)
  // Names that a message must not contain (RFC 9113 8.2.1).
  static let empty = FieldKind(rawValue: 0xF1)
  static let upperCase = FieldKind(rawValue: 0xF2)
  static let invalid = FieldKind(rawValue: 0xF3)

  init(rawValue: UInt8) { self.rawValue = rawValue }

  init(_ known: KnownField) { rawValue = known.rawValue }

  /// Classifies a name as received.
  init(_ name: Span<UInt8>) {
    guard name.count > 0 else {
      self = .empty
      return
    }
    if name[0] == 0x3A {
      self = Self.pseudo(name)
      return
    }
    for index in 0..<name.count {
      let byte = name[index]
      guard byte.isTokenByte else {
        self = .invalid
        return
      }
      if byte &- 0x41 < 26 {
        self = .upperCase
        return
      }
    }
    self = KnownField(name).map { FieldKind($0) } ?? .other
  }

  private static func pseudo(_ name: Span<UInt8>) -> FieldKind {
    if name.equals((":path" as StaticString).bytes) { return .path }
    if name.equals((":method" as StaticString).bytes) { return .method }
    if name.equals((":status" as StaticString).bytes) { return .status }
    if name.equals((":scheme" as StaticString).bytes) { return .scheme }
    if name.equals((":authority" as StaticString).bytes) { return .authority }
    if name.equals((":protocol" as StaticString).bytes) { return .protocol }
    return .unknownPseudo
  }

  var known: KnownField? { KnownField(rawValue: rawValue) }

  var isPseudo: Bool { rawValue & 0xF0 == 0xC0 }
}
