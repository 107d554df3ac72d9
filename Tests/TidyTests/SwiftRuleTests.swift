// Rules for Swift code that the compiler doesn't check.
//
// They match words in code without comments and strings: simple, and hard to bypass by accident.

import Testing

/// The targets that may use unsafe memory access.
private let unsafeTargets: Set = ["Reactor", "TLS", "Primitives"]

/// Whether `word` is in `line` as a whole word, not as part of a longer name.
func contains(word: String, in line: String) -> Bool {
  var rest = line[...]
  while let range = rest.firstRange(of: word) {
    let before = line[..<range.lowerBound].utf8.last
    let after = line[range.upperBound...].utf8.first
    if !isName(before), !isName(after) { return true }
    rest = line[range.upperBound...]
  }
  return false
}

private func isName(_ byte: UInt8?) -> Bool {
  guard let byte else { return false }
  return byte == UInt8(ascii: "_") || byte >= 0x80
    || Character(UnicodeScalar(byte)).isLetter || Character(UnicodeScalar(byte)).isNumber
}

/// Whether an `!` follows a name or a closing bracket: `try!`, `as!`, a forced unwrap, `Int!`.
func forces(_ line: String) -> Bool {
  let bytes = Array(line.utf8)
  return bytes.indices.dropFirst().contains { index in
    guard bytes[index] == UInt8(ascii: "!") else { return false }
    let isComparison = index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "=")
    return !isComparison && (isName(bytes[index - 1]) || ")]>`?".utf8.contains(bytes[index - 1]))
  }
}

@Suite struct SwiftRuleTests {
  @Test(arguments: ["try! f()", "a as! B", "x!.y", "f()!", "a[0]!", "var a: Int!", "[Int]?!"])
  func everyForcedUnwrapIsSeen(line: String) {
    #expect(forces(line))
  }

  @Test(arguments: ["a != b", "if !a { }", "f(!a)", "a!=b", "(!a)", "a && !b", "a !== b"])
  func aNegationIsNotTakenForAForcedUnwrap(line: String) {
    #expect(!forces(line))
  }

  @Test func onlyThreeTargetsAreUnsafe() {
    let others = SourceTree.sources.filter { !unsafeTargets.contains($0.target ?? "") }
    expectNone(
      "`unsafe` belongs to \(unsafeTargets.sorted().joined(separator: ", ")).",
      places(in: others, of: \.codeLines) { line in
        ["unsafe", "@unsafe", "@safe"].first { contains(word: $0, in: line) }
      })
  }

  @Test func nothingIsForced() {
    expectNone(
      "What may be missing is handled.",
      places(in: SourceTree.sources, of: \.codeLines) { forces($0) ? $0 : nil })
  }

  @Test func onlyTheReactorEndsTheProcessOnPurpose() {
    // Reactor may: a system call that can only fail because of our own bug ends the process.
    let others = SourceTree.sources.filter { $0.target != "Reactor" }
    expectNone(
      "Errors are values; a broken invariant is a `precondition`.",
      places(in: others, of: \.codeLines) { line in
        ["fatalError", "assertionFailure", "abort"].first {
          contains(word: $0, in: line) && line.contains("\($0)(")
        }
      })
  }

  @Test func everyUncheckedSendableSaysWhyItIsSafe() {
    let broken = SourceTree.sources.flatMap { file in
      file.codeLines.indices.compactMap { index -> String? in
        guard file.codeLines[index].contains("@unchecked") else { return nil }
        let nearby = file.lines[max(0, index - 5)..<min(file.lines.count, index + 4)]
        let isExplained = nearby.contains { $0.contains("//") && $0.contains("Sendable") }
        return isExplained ? nil : "\(file.path):\(index + 1)"
      }
    }
    expectNone("A comment next to it says \"Sendable because\".", broken)
  }

  @Test func noFileHasAVagueName() {
    let vague = ["Manager", "Helper", "Util", "Misc", "Common"]
    expectNone(
      "A file carries its main type's name, and a type its field's own term.",
      SourceTree.sources.filter { file in vague.contains { file.name.contains($0) } }.map(\.path))
  }
}
