// Blanks everything that isn't code in Swift text, so that a rule about code doesn't match text.
//
// Comments (also nested ones) and string literals (also multi-line and raw ones) become spaces.
// Line ends stay, so line numbers stay correct. Code that is interpolated into a string stays.
// Regex literals are not supported; the project has none. It works on bytes, because a debug build
// takes minutes for the same over characters.

/// `text` with every byte of every comment and string literal blanked.
func swiftCode(of text: String) -> String {
  var scanner = CodeScanner(bytes: Array(text.utf8))
  scanner.scanCode(untilParenthesis: false)
  return String(decoding: scanner.bytes, as: UTF8.self)
}

private struct CodeScanner {
  /// The text, blanked up to `position`.
  var bytes: [UInt8]
  var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private func byte(_ offset: Int) -> UInt8? {
    position + offset < bytes.count ? bytes[position + offset] : nil
  }

  private mutating func blank(_ count: Int = 1) {
    for _ in 0..<min(count, bytes.count - position) {
      if bytes[position] != UInt8(ascii: "\n") { bytes[position] = UInt8(ascii: " ") }
      position += 1
    }
  }

  /// Scans code up to the end, or past the parenthesis that closes an interpolation.
  mutating func scanCode(untilParenthesis: Bool) {
    var depth = 1
    while let next = byte(0) {
      switch next {
      case UInt8(ascii: "/") where byte(1) == next:
        while let next = byte(0), next != UInt8(ascii: "\n") { blank() }
      case UInt8(ascii: "/") where byte(1) == UInt8(ascii: "*"):
        scanBlockComment()
      case UInt8(ascii: "#"), UInt8(ascii: "\""):
        var hashes = 0
        while byte(hashes) == UInt8(ascii: "#") { hashes += 1 }
        if byte(hashes) == UInt8(ascii: "\"") {
          scanString(hashes: hashes)
        } else {
          position += hashes
        }
      default:
        position += 1
        if next == UInt8(ascii: "(") { depth += 1 }
        if next == UInt8(ascii: ")") { depth -= 1 }
        if untilParenthesis, depth == 0 { return }
      }
    }
  }

  private mutating func scanBlockComment() {
    var depth = 0
    repeat {
      switch (byte(0), byte(1)) {
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        depth += 1
        blank(2)
      case (UInt8(ascii: "*"), UInt8(ascii: "/")):
        depth -= 1
        blank(2)
      default:
        blank()
      }
    } while depth > 0 && position < bytes.count
  }

  private func isRun(of value: UInt8, from offset: Int, count: Int) -> Bool {
    (0..<count).allSatisfy { byte(offset + $0) == value }
  }

  private mutating func scanString(hashes: Int) {
    blank(hashes)
    let quotes = isRun(of: UInt8(ascii: "\""), from: 0, count: 3) ? 3 : 1
    blank(quotes)
    while let next = byte(0) {
      if next == UInt8(ascii: "\\"), isRun(of: UInt8(ascii: "#"), from: 1, count: hashes) {
        let isInterpolation = byte(1 + hashes) == UInt8(ascii: "(")
        blank(hashes + 2)
        if isInterpolation { scanCode(untilParenthesis: true) }
      } else if isRun(of: UInt8(ascii: "\""), from: 0, count: quotes),
        isRun(of: UInt8(ascii: "#"), from: quotes, count: hashes)
      {
        return blank(quotes + hashes)
      } else {
        blank()
      }
    }
  }
}
