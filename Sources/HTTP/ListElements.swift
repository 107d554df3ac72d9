// Iterates over a comma-separated field value (RFC 9110 5.6.1), from either end.
//
// Elements come without the white space around them; empty ones are skipped. Quoted strings are not
// parsed: a comma within quotes separates too. That is the safe side for the lists of tokens and
// addresses that a proxy reads. The iterator holds positions only, so the block may be edited
// between two steps.

import Primitives

/// The elements of one value in a `FieldBlock`.
public struct ListElements: Sendable {
  private var rest: Range<Int>

  public init(_ value: Slice) { rest = value.range }

  /// Takes the first of the remaining elements.
  public mutating func next(in block: borrowing FieldBlock) -> Slice? {
    let text = block.text.bytes
    while !rest.isEmpty {
      let end = text.firstIndex(of: 0x2C, in: rest)
      let element = rest.lowerBound..<end
      rest = min(end + 1, rest.upperBound)..<rest.upperBound
      if let trimmed = trim(element, in: text) { return trimmed }
    }
    return nil
  }

  /// Takes the last of the remaining elements, for lists where the nearest hop is the last one.
  public mutating func last(in block: borrowing FieldBlock) -> Slice? {
    let text = block.text.bytes
    while !rest.isEmpty {
      var start = rest.upperBound
      while start > rest.lowerBound && text[start - 1] != 0x2C { start -= 1 }
      let element = start..<rest.upperBound
      rest = rest.lowerBound..<max(rest.lowerBound, start - 1)
      if let trimmed = trim(element, in: text) { return trimmed }
    }
    return nil
  }

  private func trim(_ element: Range<Int>, in text: Span<UInt8>) -> Slice? {
    var start = element.lowerBound
    var end = element.upperBound
    while start < end && text[start].isBlank { start += 1 }
    while start < end && text[end - 1].isBlank { end -= 1 }
    return start == end ? nil : Slice(start..<end)
  }
}
