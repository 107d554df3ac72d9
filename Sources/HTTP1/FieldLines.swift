// Field lines (RFC 9112 5): names, colons, values.
//
// `HeadScanner` has checked the lines before. What remains to check: no folded line, the name is a
// token, the colon follows it directly. Blanks at both ends of the value are removed. Where the
// rules allow a repair, it is made in the block, so code after the parser never sees the original.

import HTTP
import Primitives

extension FieldBlock {
  /// Lists the field lines of the adopted text, which are those of `text` from `start` to its end.
  /// Returns the errors that were tolerated.
  @discardableResult
  mutating func listLines(
    of text: Span<UInt8>, from start: Int, _ rules: FieldLineRules
  ) throws(HTTP1Error) -> ToleratedReasons {
    var tolerated = ToleratedReasons()
    var position = start
    while position < text.count {
      let name = position
      if text[position].isBlank { throw .obsFold }
      var lineEnd = text.firstIndex(of: 0x0D, in: position..<text.count)
      let colon = text.firstIndex(of: 0x3A, in: position..<lineEnd)
      var nameEnd = colon
      while nameEnd > name && text[nameEnd - 1].isBlank { nameEnd -= 1 }
      // A known name is always a token.
      let known = KnownField(text.extracting(name..<nameEnd))
      guard colon < lineEnd, known != nil || text.extracting(name..<nameEnd).isToken else {
        if colon == lineEnd && rules.isForResponses {
          guard rules.repairs, text.extracting(name..<lineEnd).saysNothing else {
            throw .missingColon
          }
          tolerated.insert(.missingColon)
          position = lineEnd + 2
          continue
        }
        guard rules.repairs, let end = text.endOfDroppableLine(from: name) else {
          throw .badFieldName
        }
        tolerated.insert(.badFieldName)
        position = end
        continue
      }
      if colon > nameEnd {
        try closeUp(text, name..<nameEnd, colon: colon, rules, &tolerated)
      }
      if rules.repairs {
        lineEnd = try unfold(text, name..<nameEnd, lineEnd: lineEnd, &tolerated)
      }
      var value = colon + 1
      var valueEnd = lineEnd
      while value < valueEnd && text[value].isBlankOrLineEnd { value += 1 }
      while value < valueEnd && text[valueEnd - 1].isBlank { valueEnd -= 1 }
      position = lineEnd + 2
      list(
        known, name: Slice(name..<nameEnd), value: Slice(value..<valueEnd), lineEnd: position)
    }
    return tolerated
  }

  /// Moves the colon of a line to the end of its name, or throws.
  private mutating func closeUp(
    _ text: Span<UInt8>, _ name: Range<Int>, colon: Int, _ rules: FieldLineRules,
    _ tolerated: inout ToleratedReasons
  ) throws(HTTP1Error) {
    switch rules {
    case .response, .tolerantResponse: break
    case .tolerant where !text.extracting(name).looksLikeFraming:
      tolerated.insert(.spaceBeforeColon)
    case .strict, .tolerant: throw .spaceBeforeColon
    }
    closeUp(name: Slice(name), colon: colon)
  }

  /// Joins the continuation lines of the field that ends at `lineEnd`, and returns where the last
  /// of them ends. A continuation that some server could take for the end of the head or for
  /// another field isn't tolerated.
  private mutating func unfold(
    _ text: Span<UInt8>, _ name: Range<Int>, lineEnd: Int, _ tolerated: inout ToleratedReasons
  ) throws(HTTP1Error) -> Int {
    var end = lineEnd
    while end + 2 < text.count && text[end + 2].isBlank {
      // The name is checked only once, for any number of continuation lines.
      if end == lineEnd && text.extracting(name).looksLikeFraming { throw .obsFold }
      let next = text.firstIndex(of: 0x0D, in: (end + 2)..<text.count)
      let continuation = text.extracting((end + 2)..<next)
      if continuation.isBlank || continuation.hasColonBehindToken { throw .obsFold }
      blank(Slice(end..<(end + 2)))
      tolerated.insert(.obsFold)
      end = next
    }
    return end
  }

  /// Replaces several identical Content-Length fields by one. Returns whether there were several.
  mutating func unifyContentLength() -> Bool {
    guard contains(.contentLength), !contains(.transferEncoding),
      let (length, repeats) = try? statedContentLength(), repeats
    else { return false }
    removeAll(of: .contentLength)
    beginField(.contentLength)
    appendValue(decimal: length)
    endField()
    return true
  }
}

/// The longest line without a colon that may be dropped, in bytes. Stray text is short.
private let straySizeMax = 256

extension UInt8 {
  /// A line end within a value is the rest of a fold whose other bytes became spaces.
  fileprivate var isBlankOrLineEnd: Bool { isBlank || self == 0x0D || self == 0x0A }
}

extension Span where Element == UInt8 {
  fileprivate var isBlank: Bool {
    for index in 0..<count where !self[index].isBlank { return false }
    return true
  }

  /// Whether this continuation is a valid field line without its indent.
  fileprivate var hasColonBehindToken: Bool {
    var index = 0
    while index < count && self[index].isBlank { index += 1 }
    while index < count && self[index].isTokenByte { index += 1 }
    while index < count && self[index].isBlank { index += 1 }
    return index < count && self[index] == 0x3A
  }

  /// Whether a line without a colon may be dropped. Not if it looks like a framing field or like a
  /// status line: then an earlier head may have ended without its empty line.
  fileprivate var saysNothing: Bool {
    let start: StaticString = "http/"
    return count <= straySizeMax && !looksLikeFraming
      && !extracting(first: start.bytes.count).equalsIgnoringCase(start.bytes)
  }

  /// The position after this line, if the line may be dropped: its name is visible ASCII, a colon
  /// follows, and the name doesn't look like a framing field.
  fileprivate func endOfDroppableLine(from start: Int) -> Int? {
    var index = start
    while index < count && self[index] > 0x20 && self[index] < 0x7F && self[index] != 0x3A {
      index += 1
    }
    guard index > start, index < count, self[index] == 0x3A,
      !extracting(start..<index).looksLikeFraming
    else { return nil }
    return firstIndex(of: 0x0D, in: index..<count) + 2
  }
}
