// The character classes, compared with their definitions in the RFCs for every byte.

import HTTP
import Testing

struct ASCIITests {
  private static let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
  private static let digits = "0123456789"

  @Test func everyByteIsInItsClasses() {
    let token = Set((Self.letters + Self.digits + "!#$%&'*+-.^_`|~").utf8)
    let host = Set((Self.letters + Self.digits + "-._~").utf8)
    for byte in UInt8.min...UInt8.max {
      #expect(byte.isTokenByte == token.contains(byte))
      #expect(byte.isHostByte == host.contains(byte))
      #expect(byte.isTargetByte == (byte > 0x20 && byte < 0x7F && byte != 0x23))
      #expect(byte.isDigit == Self.digits.utf8.contains(byte))
      #expect(byte.isBlank == (byte == 0x20 || byte == 0x09))
      let character = Character(UnicodeScalar(byte))
      #expect(byte.hexadecimalValue.map(Int.init) == (byte < 0x80 ? character.hexDigitValue : nil))
      let isUpper = byte >= 0x41 && byte <= 0x5A
      #expect(byte.lowercased == (isUpper ? byte + 32 : byte))
    }
  }

  @Test func aTokenHasAtLeastOneCharacter() {
    for (text, expected) in [("", false), ("x", true), ("a b", false), ("a:", false)] {
      let isToken = Array(text.utf8).span.isToken
      #expect(isToken == expected)
    }
  }

  @Test func aFieldValueMayHoldTabsAndHighBytesButNoOtherControl() {
    for byte in UInt8.min...UInt8.max {
      let value: [UInt8] = [0x61, 0x09, byte, 0x62]
      let isFieldValue = value.span.isFieldValue
      #expect(isFieldValue == (byte == 0x09 || (byte >= 0x20 && byte != 0x7F)))
    }
    let empty: [UInt8] = []
    let isFieldValue = empty.span.isFieldValue
    #expect(isFieldValue)
  }

  @Test(arguments: [
    ("hOST", "Host", true, false), ("host", "host", true, true), ("a@", "a`", false, false),
    ("[", "{", false, false), ("host", "hosts", false, false), ("", "", true, true),
  ])
  func equalityWithoutCaseFoldsLettersOnly(
    left: String, right: String, ignoringCase: Bool, exactly: Bool
  ) {
    let left = Array(left.utf8)
    let right = Array(right.utf8)
    let isEqualIgnoringCase = left.span.equalsIgnoringCase(right.span)
    let isEqual = left.span.equals(right.span)
    #expect(isEqualIgnoringCase == ignoringCase)
    #expect(isEqual == exactly)
  }

  @Test(arguments: [
    ("0", 0), ("007", 7), ("9223372036854775807", UInt64(Int64.max)),
    ("9223372036854775808", nil), ("9999999999999999999", nil), ("00000000000000000001", nil),
    ("", nil), ("+1", nil), ("-1", nil), ("1 ", nil), ("0x1", nil), ("1_0", nil), ("١", nil),
  ] as [(String, UInt64?)])
  func decimalNumbersAreDigitsBelowTwoToThe63(text: String, value: UInt64?) {
    let number = Array(text.utf8).span.decimalValue
    #expect(number == value)
  }

  @Test func textsOfAnyLengthAreEqualWithoutCaseOrDifferAnywhere() {
    let alphabet = Array("aB-9{cD".utf8)
    for count in 0...40 {
      let text = (0..<count).map { alphabet[$0 % alphabet.count] }
      let upper = text.map { $0 >= 0x61 && $0 <= 0x7A ? $0 - 32 : $0 }
      let isEqual = text.span.equalsIgnoringCase(text.span)
      let isEqualInUpperCase = text.span.equalsIgnoringCase(upper.span)
      #expect(isEqual && isEqualInUpperCase)
      for position in 0..<count {
        // Only the case of letters may differ: 0x5B and 0x7B also differ by that bit.
        for other in [text[position] ^ 1, text[position] == 0x7B ? 0x5B : 0x00] {
          var changed = text
          changed[position] = other
          let isStillEqual = text.span.equalsIgnoringCase(changed.span)
          #expect(!isStillEqual, "\(count) bytes, changed at \(position)")
        }
      }
    }
  }
}
