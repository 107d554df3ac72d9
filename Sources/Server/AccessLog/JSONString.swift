// Bytes from the network as a JSON string (RFC 8259 section 7): whatever they are, the line that
// they stand in is valid JSON, one line, and harmless on a terminal.
//
// What isn't UTF-8 is written byte by byte as \u0080 to \u00ff, as if it were Latin-1: nothing is
// lost, and it reads well for what old clients really send.

import Primitives

extension ByteBuffer {
  /// Appends the content of `text` in quotes.
  mutating func appendJSONString(of text: borrowing ByteBuffer) { appendJSONString(text.bytes) }

  /// Appends `bytes` in quotes.
  mutating func appendJSONString(_ bytes: Span<UInt8>) {
    append(0x22)
    var index = 0
    /// Where the bytes begin that are still to be copied as they are.
    var plainStart = 0
    while true {
      index = bytes.firstNotPlain(in: index..<bytes.count)
      if index == bytes.count { break }
      let byte = bytes[index]
      let length = byte < 0x80 ? 0 : lengthOfCharacter(in: bytes, at: index)
      if length > 0 {
        index += length
        continue
      }
      append(bytes.extracting(plainStart..<index))
      // A C1 control in two bytes is escaped as the one character that it is.
      if byte == 0xC2 && index + 1 < bytes.count && bytes[index + 1] & 0xE0 == 0x80 { index += 1 }
      appendEscaped(bytes[index])
      index += 1
      plainStart = index
    }
    append(bytes.extracting(plainStart...))
    append(0x22)
  }

  private mutating func appendEscaped(_ byte: UInt8) {
    switch byte {
    case 0x22: append("\\\"")
    case 0x5C: append("\\\\")
    case 0x0A: append("\\n")
    case 0x0D: append("\\r")
    case 0x09: append("\\t")
    default:
      append("\\u00")
      if byte < 0x10 { append(0x30) }
      append(hexadecimal: UInt64(byte))
    }
  }
}

/// How many bytes the character of several bytes takes that begins at `index`; 0 if it isn't well
/// formed UTF-8 (RFC 3629 section 4), or is a C1 control, which some terminals obey.
private func lengthOfCharacter(in bytes: Span<UInt8>, at index: Int) -> Int {
  let lead = bytes[index]
  let length: Int
  /// The range of the second byte; it rules out overlong forms, surrogates and > U+10FFFF.
  var second: ClosedRange<UInt8> = 0x80...0xBF
  switch lead {
  case 0xC2:
    length = 2
    second = 0xA0...0xBF
  case 0xC3...0xDF: length = 2
  case 0xE0:
    length = 3
    second = 0xA0...0xBF
  case 0xED:
    length = 3
    second = 0x80...0x9F
  case 0xE1...0xEF: length = 3
  case 0xF0:
    length = 4
    second = 0x90...0xBF
  case 0xF1...0xF3: length = 4
  case 0xF4:
    length = 4
    second = 0x80...0x8F
  default: return 0
  }
  if length > bytes.count - index || !second.contains(bytes[index + 1]) { return 0 }
  for offset in 2..<max(2, length) where bytes[index + offset] & 0xC0 != 0x80 { return 0 }
  return length
}
