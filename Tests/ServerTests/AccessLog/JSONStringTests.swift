// Any bytes become a valid JSON string.

import Foundation
import Primitives
import Testing

@testable import Server

@Suite struct JSONStringTests {
  private func json(_ bytes: [UInt8]) -> [UInt8] {
    var output = ByteBuffer()
    output.appendJSONString(bytes.span)
    return (0..<output.count).map { output.bytes[$0] }
  }

  private func text(_ bytes: [UInt8]) -> String { String(decoding: json(bytes), as: UTF8.self) }

  @Test(arguments: [
    ("", #""""#), ("plain /path?q=1", #""plain /path?q=1""#), (#"say "hi""#, #""say \"hi\"""#),
    (#"C:\x"#, #""C:\\x""#), ("a\nb\rc\td", #""a\nb\rc\td""#),
    ("\u{0}\u{1}\u{1F}", #""\u0000\u0001\u001f""#),
    ("\u{7F}", #""\u007f""#), ("\u{9B}31m", #""\u009b31m""#), ("grüße €𝄞", #""grüße €𝄞""#),
  ])
  func textIsQuotedAndControlsAreEscaped(text: String, expected: String) {
    #expect(self.text(Array(text.utf8)) == expected)
  }

  @Test(
    arguments: [
      ([0xFC], #""\u00fc""#),
      // Truncated.
      ([0x61, 0xE2, 0x82], #""a\u00e2\u0082""#), ([0xC3], #""\u00c3""#), ([0xC2], #""\u00c2""#),
      // Overlong, surrogate, above U+10FFFF.
      ([0xC0, 0xAF], #""\u00c0\u00af""#), ([0xE0, 0x80, 0xAF], #""\u00e0\u0080\u00af""#),
      ([0xED, 0xA0, 0x80], #""\u00ed\u00a0\u0080""#),
      ([0xF4, 0x90, 0x80, 0x80], #""\u00f4\u0090\u0080\u0080""#),
      ([0xF0, 0x9D, 0x84, 0x22], #""\u00f0\u009d\u0084\"""#),
    ] as [([UInt8], String)])
  func bytesThatAreNotUTF8AreEscapedOneByOne(bytes: [UInt8], expected: String) {
    #expect(text(bytes) == expected)
  }

  @Test func whateverTheBytesAreTheLineIsValidJSON() throws {
    var random = RandomGenerator(seed: 7)
    // Bytes with a special meaning are more likely than the rest.
    let likely: [UInt8] = [
      0x22, 0x5C, 0x0A, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xFF, 0x41,
    ]
    for _ in 0..<3000 {
      let bytes = (0..<(Int(random.next() % 12))).map { _ -> UInt8 in
        let number = random.next()
        return number & 1 == 0
          ? UInt8(truncatingIfNeeded: number >> 8) : likely[Int(number >> 8) % likely.count]
      }
      let json = json(bytes)
      let decoded = try JSONDecoder().decode(String.self, from: Data(json))
      if let text = String(validating: bytes, as: UTF8.self) { #expect(decoded == text) }
      #expect(json.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
    }
  }
}
