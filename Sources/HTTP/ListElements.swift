// Walking over a comma-separated field value (RFC 9110 5.6.1), from either end.
//
// Elements come without the white space around them, and empty ones are left out. Quoted strings
// are not understood: a comma within quotes separates too, which errs on the safe side for the
// lists of tokens and addresses that a proxy reads. The walk holds positions only, so the block may
// be edited between two steps.

/// The elements of one value that lies in a `FieldBlock`.
public struct ListElements: Sendable {
  private var rest: Range<Int>

  public init(_ value: Slice) { rest = value.range }

  /// Takes the first element that is left.
  public mutating func next(in block: borrowing FieldBlock) -> Slice? {
    while !rest.isEmpty {
      let bytes = block.bytes(of: Slice(rest))
      var length = 0
      while length < bytes.count && bytes[length] != 0x2C { length += 1 }
      let element = rest.lowerBound..<(rest.lowerBound + length)
      rest = min(element.upperBound + 1, rest.upperBound)..<rest.upperBound
      if let trimmed = trim(element, in: block) { return trimmed }
    }
    return nil
  }

  /// Takes the last element that is left, as whoever trusts the nearest hop first does.
  public mutating func last(in block: borrowing FieldBlock) -> Slice? {
    while !rest.isEmpty {
      let bytes = block.bytes(of: Slice(rest))
      var start = bytes.count
      while start > 0 && bytes[start - 1] != 0x2C { start -= 1 }
      let element = (rest.lowerBound + start)..<rest.upperBound
      rest = rest.lowerBound..<max(rest.lowerBound, element.lowerBound - 1)
      if let trimmed = trim(element, in: block) { return trimmed }
    }
    return nil
  }

  private func trim(_ element: Range<Int>, in block: borrowing FieldBlock) -> Slice? {
    let bytes = block.bytes(of: Slice(element))
    var start = 0
    var end = bytes.count
    while start < end && bytes[start].isBlank { start += 1 }
    while start < end && bytes[end - 1].isBlank { end -= 1 }
    if start == end { return nil }
    return Slice((element.lowerBound + start)..<(element.lowerBound + end))
  }
}
