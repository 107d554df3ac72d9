// Fixed lists of field names that are not a `KnownField`. They are used to remove such fields.
//
// A list also matches names that are similar to its names. The first letters of its names are a
// constant. Nearly no message has an unknown field with one of these first letters, and without one
// no name is compared and the list is not read.

import Primitives

/// Names and prefixes of fields.
public enum FieldNames: Sendable, CaseIterable {
  /// Forwarding fields: ForwardingFields.swift.
  case forwarding
  /// The forwarding fields with one address, the client's. X-Real-IP is another one.
  case clientAddress
  /// Fields of heads that no other code of Martlet uses: TrailerFields.swift.
  case headOnly

  /// The first letters of the names. A test compares them with the names.
  var initials: FieldInitials {
    switch self {
    case .forwarding:
      FieldInitials(
        bits: 1 << 3 | 1 << 6 | 1 << 16 | 1 << 18 | 1 << 20 | 1 << 23 | 1 << 24)
    case .clientAddress:
      FieldInitials(bits: 1 << 3 | 1 << 6 | 1 << 16 | 1 << 20 | 1 << 23 | 1 << 24)
    case .headOnly:
      FieldInitials(
        bits: 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 16 | 1 << 18 | 1 << 19 | 1 << 23
          | 1 << 24)
    }
  }

  var names: [StaticString] {
    switch self {
    case .forwarding: Self.forwardingNames
    case .clientAddress: Self.clientAddressNames
    case .headOnly: Self.headOnlyNames
    }
  }

  var prefix: StaticString? {
    switch self {
    case .forwarding: Self.forwardingPrefix
    case .clientAddress, .headOnly: nil
    }
  }

  /// Whether this is one of the names, in upper or lower case.
  public func contains(_ name: Span<UInt8>) -> Bool {
    contains(name) { $0.equalsIgnoringCase($1) }
  }

  /// Whether this is one of the names, or is similar to one (`isAlike`).
  func containsAlike(_ name: Span<UInt8>) -> Bool { contains(name) { $0.isAlike($1) } }

  private func contains(
    _ name: Span<UInt8>, where isSame: (Span<UInt8>, Span<UInt8>) -> Bool
  ) -> Bool {
    guard name.count > 0, initials.mayContain(name[0]) else { return false }
    for known in names where isSame(name, known.bytes) { return true }
    guard let prefix, name.count >= prefix.bytes.count else { return false }
    return isSame(name.extracting(first: prefix.bytes.count), prefix.bytes)
  }
}

/// The first letters of some names. Similar names have the same first letter.
struct FieldInitials: Equatable, Sendable {
  private var bits: UInt32

  @inline(__always)
  init(bits: UInt32 = 0) { self.bits = bits }

  @inline(__always)
  mutating func insert(_ letter: UInt8) { bits |= 1 &<< UInt32(letter & 31) }

  /// False only if no name has this first letter.
  func mayContain(_ letter: UInt8) -> Bool { bits &>> UInt32(letter & 31) & 1 == 1 }

  @inline(__always)
  func isDisjoint(with other: FieldInitials) -> Bool { bits & other.bits == 0 }
}

extension Span where Element == UInt8 {
  /// Whether a program that uses variables for fields (RFC 3875 4.1.18) cannot distinguish this
  /// from `name`. There every character except letters and digits becomes `_`. Most servers only
  /// convert `-`; lighttpd converts every other character too.
  func isAlike(_ name: Span<UInt8>) -> Bool {
    if count != name.count { return false }
    for index in 0..<count where self[index].inVariable != name[index].inVariable { return false }
    return true
  }
}

extension UInt8 {
  /// The character for this byte in the name of the variable.
  fileprivate var inVariable: UInt8 { isPlainNameByte && self != 0x2D ? lowercased : 0x5F }
}
