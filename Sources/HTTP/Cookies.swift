// Finding a cookie in a request (RFC 6265 5.4): `name=value` pairs between semicolons, in one field
// or, from HTTP/2, in several.
//
// Only looked for, never checked as a whole: what isn't a pair is passed over, since it is the
// application's, and not ours to refuse.

import Primitives

extension FieldBlock {
  /// The value of the first cookie of this name, compared byte for byte.
  public func cookie(named name: Span<UInt8>) -> Slice? {
    guard contains(.cookie) else { return nil }
    for index in 0..<count where self[index].known == .cookie && !self[index].isRemoved {
      if let value = Self.cookie(named: name, in: self[index].value, of: self) { return value }
    }
    return nil
  }

  private static func cookie(
    named name: Span<UInt8>, in field: Slice, of block: borrowing FieldBlock
  ) -> Slice? {
    let bytes = block.bytes(of: field)
    var start = 0
    while start < bytes.count {
      var end = start
      while end < bytes.count && bytes[end] != 0x3B { end += 1 }
      while start < end && bytes[start].isBlank { start += 1 }
      let equals = start + name.count
      if equals < end, bytes[equals] == 0x3D, isEqual(bytes, start, name) {
        var last = end
        while last > equals + 1 && bytes[last - 1].isBlank { last -= 1 }
        let from = Int(field.start) + equals + 1
        return Slice(from..<(Int(field.start) + last))
      }
      start = end + 1
    }
    return nil
  }

  private static func isEqual(_ bytes: Span<UInt8>, _ start: Int, _ name: Span<UInt8>) -> Bool {
    for index in 0..<name.count where bytes[start + index] != name[index] { return false }
    return true
  }
}
