// Which media types a client prefers, from Accept (RFC 9110 12.5.1).
//
// The caller asks for the weight of one media range at a time, and decides itself which range is
// more specific.

import Primitives

extension FieldBlock {
  /// The weight of a media range such as `text/html` or `*/*`, in thousandths; 0 when Accept
  /// doesn't contain it. Parameters other than the weight are ignored.
  public func weight(accepting range: StaticString) -> Int {
    var weight = 0
    for index in 0..<count where self[index].known == .accept && !self[index].isRemoved {
      var elements = ListElements(self[index].value)
      while let element = elements.next(in: self) {
        let text = bytes(of: element)
        let end = text.firstIndex(of: 0x3B, in: 0..<text.count)
        var nameEnd = end
        while nameEnd > 0 && text[nameEnd - 1].isBlank { nameEnd -= 1 }
        guard text.extracting(0..<nameEnd).equalsIgnoringCase(range.bytes) else { continue }
        weight = max(weight, text.extracting(end..<text.count).statedWeight)
      }
    }
    return weight
  }
}

extension Span where Element == UInt8 {
  /// The weight in these parameters, each preceded by a semicolon (RFC 9110 12.4.2): 1000 when
  /// there is none, 0 when it is invalid.
  fileprivate var statedWeight: Int {
    var index = 0
    while index < count {
      // The byte at `index` is a semicolon.
      index += 1
      while index < count && self[index].isBlank { index += 1 }
      let next = firstIndex(of: 0x3B, in: index..<count)
      if next - index >= 2 && self[index].lowercased == 0x71 && self[index + 1] == 0x3D {
        return extracting((index + 2)..<next).thousandths
      }
      index = next
    }
    return 1000
  }

  /// `0.125` as 125; 0 for an invalid weight.
  private var thousandths: Int {
    var end = count
    while end > 0 && self[end - 1].isBlank { end -= 1 }
    guard (1...5).contains(end), self[0] == 0x30 || self[0] == 0x31, end == 1 || self[1] == 0x2E
    else { return 0 }
    var value = Int(self[0] &- 0x30)
    for index in 2..<5 {
      let digit = index < end ? self[index] : 0x30
      if !digit.isDigit { return 0 }
      value = value * 10 + Int(digit &- 0x30)
    }
    return value > 1000 ? 0 : value
  }
}
