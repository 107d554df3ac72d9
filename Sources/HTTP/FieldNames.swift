// Fixed lists of field names that are no `KnownField`, to remove such fields by.
//
// A name in a list stands for its look-alikes too. The letters with which its names begin are a
// constant: nearly no message has an unknown field that begins with one of them, and then nothing
// is compared, and not even the list is touched.

import Primitives

/// Names of fields, and beginnings of names.
public enum FieldNames: Sendable, CaseIterable {
  /// What says who asked: ForwardingFields.swift.
  case forwarding
  /// Of these, the ones that hold one address, the client's. X-Real-IP is another.
  case clientAddress
  /// What belongs into a head, and nothing else in Martlet needs to know: TrailerFields.swift.
  case headOnly

  /// With which letters they begin; a test compares it with the names.
  var initials: FieldInitials {
    switch self {
    case .forwarding: FieldInitials(bits: 1 << 3 | 1 << 6 | 1 << 18 | 1 << 20 | 1 << 24)
    case .clientAddress: FieldInitials(bits: 1 << 3 | 1 << 6 | 1 << 20 | 1 << 24)
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

  /// Is this one of the names, whatever the letters' case?
  public func contains(_ name: Span<UInt8>) -> Bool {
    contains(name) { $0.equalsIgnoringCase($1) }
  }

  /// Is this one of the names, or does it look like one (`isAlike`)?
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

/// With which letters some names begin. All that look alike begin with the same letter.
struct FieldInitials: Equatable, Sendable {
  private var bits: UInt32

  @inline(__always)
  init(bits: UInt32 = 0) { self.bits = bits }

  @inline(__always)
  mutating func insert(_ letter: UInt8) { bits |= 1 &<< UInt32(letter & 31) }

  /// False only when no name begins with this letter.
  func mayContain(_ letter: UInt8) -> Bool { bits &>> UInt32(letter & 31) & 1 == 1 }

  @inline(__always)
  func isDisjoint(with other: FieldInitials) -> Bool { bits & other.bits == 0 }
}

extension Span where Element == UInt8 {
  /// Equal to `name` for a program that finds fields as variables (RFC 3875 4.1.18): all but
  /// letters and digits is one character there, `_`. Most servers do so with `-` alone, lighttpd
  /// with every other character too.
  func isAlike(_ name: Span<UInt8>) -> Bool {
    if count != name.count { return false }
    for index in 0..<count where self[index].inVariable != name[index].inVariable { return false }
    return true
  }
}

extension UInt8 {
  /// What becomes of this byte of a name in a variable's name.
  fileprivate var inVariable: UInt8 { isPlainNameByte && self != 0x2D ? lowercased : 0x5F }
}
