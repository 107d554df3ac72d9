// The layout of files: their header, their length, and what no line may contain.
//
// The length of lines is not limited in Markdown, because of tables. All other rules apply to every
// text file.

import Testing

private let lineMax = 100
private let fileMax = 500
private let headerMax = 14
/// The header of a longer file must contain this text, followed by the reason.
private let lengthReason = "is long because"

@Suite struct LayoutTests {
  @Test func theTreeIsFound() {
    #expect(SourceTree.file("Package.swift") != nil)
    #expect(SourceTree.sources.count > 10)
  }

  @Test func everySwiftFileBeginsWithACommentThatSaysWhatItIs() {
    let broken = SourceTree.swift.compactMap { file -> String? in
      let header = file.header.filter { !$0.hasPrefix("swift-tools-version") }
      if header.isEmpty { return "\(file.path): no header" }
      if header.count > headerMax { return "\(file.path): \(header.count) lines of header" }
      let isSentence = header.contains { ".:".contains($0.last ?? " ") }
      return isSentence ? nil : "\(file.path): its header is no sentence"
    }
    expectNone("A header has 1 to \(headerMax) lines.", broken)
  }

  @Test func aLongFileSaysWhyItIsLong() {
    let broken = SourceTree.swift.compactMap { file -> String? in
      // The last line end adds one empty line.
      let count = file.lines.count - 1
      let header = file.header.joined(separator: " ")
      return count <= fileMax || header.contains(lengthReason) ? nil : "\(file.path): \(count)"
    }
    expectNone("Above \(fileMax) lines the header says \"\(lengthReason)\".", broken)
  }

  @Test func noLineIsTooLong() {
    let measured = SourceTree.files.filter { file in
      file.isSwift || file.path.hasPrefix("scripts/")
        || [".py", ".lua", ".c", ".h", ".sh"].contains(where: file.path.hasSuffix)
    }
    expectNone(
      "At most \(lineMax) columns.",
      places(in: measured) { line in
        // Counting bytes is fast, and there are never fewer bytes than characters.
        guard line.utf8.count > lineMax, line.count > lineMax else { return nil }
        return "\(line.count) columns"
      })
  }

  @Test func noLineHoldsATabOrEndsInBlanks() {
    expectNone(
      "Two spaces indent, and nothing stands at the end of a line.",
      places(in: SourceTree.files) { line in
        if line.utf8.contains(UInt8(ascii: "\t")) { return "tab" }
        if line.utf8.contains(UInt8(ascii: "\r")) { return "carriage return" }
        return line.utf8.last == UInt8(ascii: " ") ? "blank at the end" : nil
      })
  }

  @Test func everyFileEndsWithOneLineEnd() {
    expectNone(
      "A text file ends with exactly one line end.",
      SourceTree.files.filter { !$0.text.isEmpty }
        .filter { !$0.text.hasSuffix("\n") || $0.text.hasSuffix("\n\n") }.map(\.path))
  }

  @Test func nothingIsLeftToDo() {
    // Concatenated here, so that this file doesn't break its own rule.
    let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
    expectNone(
      "Unfinished work is an issue, not a comment.",
      places(in: SourceTree.files) { line in marks.first { contains(word: $0, in: line) } })
  }

  @Test func noFileContainsAPathOfOneMachine() {
    let folders = ["work", "root", "home", "Users"].map { "/\($0)/" }
    expectNone(
      "A path of one machine means nothing on another.",
      places(in: SourceTree.files) { line in
        folders.first { folder in
          line.contains(folder) && line.ranges(of: folder).contains { range in
            // `$base/home/` and `a/home/b` continue another path; an absolute path begins here.
            guard range.lowerBound != line.startIndex else { return true }
            return " \"'`=:(,".contains(line[line.index(before: range.lowerBound)])
          }
        }
      })
  }
}
