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
      while position < text.count && text[position].isTokenByte { position += 1 }
      let nameEnd = position
      guard nameEnd > name else { throw .badFieldName }
      while position < text.count && text[position].isBlank { position += 1 }
      guard position < text.count && text[position] == 0x3A else { throw .badFieldName }
      if position > nameEnd {
        guard closingUp else { throw .spaceBeforeColon }
        closeUp(name: Slice(name..<nameEnd), colon: position)
      }
      position += 1
      let lineEnd = text.firstIndex(of: 0x0D, in: position..<text.count)
      var value = position
      var valueEnd = lineEnd
      while value < valueEnd && text[value].isBlank { value += 1 }
      while value < valueEnd && text[valueEnd - 1].isBlank { valueEnd -= 1 }
      position = lineEnd + 2
      list(name: Slice(name..<nameEnd), value: Slice(value..<valueEnd), lineEnd: position)
    }
  }
}
