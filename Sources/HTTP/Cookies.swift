// Finds cookies in a request (RFC 6265 5.4): `name=value` pairs separated by semicolons, in one
// field or, from HTTP/2, in several.
//
// The field is not validated. What isn't a pair is skipped, since cookies belong to the
// application. A name may occur several times: a browser sends one cookie for each path and domain.

import Primitives

/// The values of all cookies of one name, in order. Names are compared byte for byte.
public struct CookieValues {
  private let name: [UInt8]
  private var field = 0
  /// Where the next pair begins in the field.
  private var start = 0

  public init(named name: [UInt8]) { self.name = name }

  public mutating func next(in block: borrowing FieldBlock) -> Slice? {
    guard block.contains(.cookie) else { return nil }
    while field < block.count {
      if block[field].known == .cookie && !block[field].isRemoved,
        let value = nextPair(of: block[field].value, in: block)
      {
        return value
      }
      field += 1
      start = 0
    }
    return nil
  }

  private mutating func nextPair(of value: Slice, in block: borrowing FieldBlock) -> Slice? {
    let bytes = block.bytes(of: value)
    while start < bytes.count {
      let end = bytes.firstIndex(of: 0x3B, in: start..<bytes.count)
      var first = start
      start = end + 1
      while first < end && bytes[first].isBlank { first += 1 }
      let equals = first + name.count
      guard equals < end, bytes[equals] == 0x3D,
        bytes.extracting(first..<equals).equals(name.span)
      else { continue }
      var last = end
      while last > equals + 1 && bytes[last - 1].isBlank { last -= 1 }
      return Slice((Int(value.start) + equals + 1)..<(Int(value.start) + last))
    }
    return nil
  }
}
