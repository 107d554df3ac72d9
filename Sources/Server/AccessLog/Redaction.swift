// Keeping secrets that stand in addresses out of the log: the values of some query parameters are
// replaced. It is done where a target is copied for the log, so that nothing behind that ever has
// them.

import HTTP
import Primitives

extension ByteBuffer {
  private static let placeholder: StaticString = "REDACTED"

  /// Appends a target or an address; of its query, the values of `hidden` parameters are replaced.
  /// Names are compared as a backend would read them: decoded, and without regard to case.
  mutating func append(_ target: Span<UInt8>, hiding hidden: [[UInt8]]) {
    var start = hidden.isEmpty ? target.count : target.firstIndex(of: 0x3F, in: 0..<target.count)
    guard start < target.count else { return append(target) }
    start += 1
    append(target.extracting(..<start))
    while start < target.count {
      var end = start
      var equals: Int?
      while end < target.count && !Self.endsParameter(target[end]) {
        if target[end] == 0x3D && equals == nil { equals = end }
        end += 1
      }
      if let equals, equals + 1 < end,
        Self.isHidden(target.extracting(start..<equals), hidden)
      {
        append(target.extracting(start...equals))
        append(Self.placeholder)
      } else {
        append(target.extracting(start..<end))
      }
      if end < target.count { append(target[end]) }
      start = end + 1
    }
  }

  private static func endsParameter(_ byte: UInt8) -> Bool {
    // A fragment is for nobody but the browser, and ends the query of a referer.
    byte == 0x26 || byte == 0x3B || byte == 0x23
  }

  private static func isHidden(_ name: Span<UInt8>, _ hidden: [[UInt8]]) -> Bool {
    for index in hidden.indices where name.decodes(to: hidden[index]) { return true }
    return false
  }
}

extension Span where Element == UInt8 {
  /// Is this `name`, when %XX and + are decoded?
  fileprivate func decodes(to name: [UInt8]) -> Bool {
    var index = 0
    var position = 0
    while index < count {
      var byte = self[index]
      if byte == 0x2B { byte = 0x20 }
      if byte == 0x25 && index + 2 < count, let high = self[index + 1].hexadecimalValue,
        let low = self[index + 2].hexadecimalValue
      {
        byte = high << 4 | low
        index += 2
      }
      index += 1
      guard position < name.count, byte.lowercased == name[position].lowercased else {
        return false
      }
      position += 1
    }
    return position == name.count
  }
}
