// Field lines (RFC 9112 5): names, colons, values.
//
// The lines have been through `HeadScanner`, so what is left is: no folded line, a token for a
// name, the colon directly behind it, and blanks off both ends of the value.

import HTTP
import Primitives

extension FieldBlock {
  /// Lists the field lines of the adopted text, which are those of `text` from `start` to its end.
  /// With `closingUp`, blanks between name and colon are moved behind the colon instead of being
  /// refused: RFC 9112 5.1 demands the one for responses and the other for requests.
  mutating func listLines(
    of text: Span<UInt8>, from start: Int, closingUp: Bool
  ) throws(HTTP1Error) {
    var position = start
    while position < text.count {
      let name = position
      if text[position].isBlank { throw .obsFold }
      let lineEnd = text.firstIndex(of: 0x0D, in: position..<text.count)
      let colon = text.firstIndex(of: 0x3A, in: position..<lineEnd)
      guard colon < lineEnd else { throw .badFieldName }
      var nameEnd = colon
      while nameEnd > name && text[nameEnd - 1].isBlank { nameEnd -= 1 }
      // A known name is a token by being one of ours.
      let known = KnownField(text.extracting(name..<nameEnd))
      if known == nil && !text.extracting(name..<nameEnd).isToken { throw .badFieldName }
      if colon > nameEnd {
        guard closingUp else { throw .spaceBeforeColon }
        closeUp(name: Slice(name..<nameEnd), colon: colon)
      }
      var value = colon + 1
      var valueEnd = lineEnd
      while value < valueEnd && text[value].isBlank { value += 1 }
      while value < valueEnd && text[valueEnd - 1].isBlank { valueEnd -= 1 }
      position = lineEnd + 2
      list(
        known, name: Slice(name..<nameEnd), value: Slice(value..<valueEnd), lineEnd: position)
    }
  }
}
