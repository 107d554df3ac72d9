// Conversion of offsets to lines and columns.

import Testing

@testable import Configuration

@Suite("A source text")
struct SourceTextTests {
  @Test(
    "turns offsets into lines and columns that count characters from one",
    arguments: [
      (0, 1, 1), (1, 1, 2), (2, 1, 3), (3, 2, 1), (5, 2, 2), (6, 2, 3), (7, 3, 1), (8, 4, 1),
      (99, 4, 1),
    ])
  func places(_ offset: Int, _ line: Int, _ column: Int) {
    // Bytes: a b \n, é (two bytes) x \n, \n.
    let source = SourceText(file: "f", bytes: Array("ab\néx\n\n".utf8))
    let place = source.place(.offset(offset))
    #expect(place == .file("f", line: line, column: column))
  }

  @Test("knows its directory")
  func directory() {
    #expect(SourceText(file: "config.json", bytes: []).directory == "")
    #expect(SourceText(file: "/etc/martlet/config.json", bytes: []).directory == "/etc/martlet/")
  }
}
