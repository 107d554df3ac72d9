// Suggestions for misspelt names.

import Testing

@testable import Configuration

@Suite("The nearest name")
struct NearestNameTests {
  @Test(
    "ignores a few typing errors, case and separators, and no more",
    arguments: [
      ("lgo", "log"), ("maxAttempts", "max-attempts"), ("max_attempts", "max-attempts"),
      ("limts", "limits"), ("max-atempt", "max-attempts"), ("foo", nil), ("", nil),
      ("listen", nil), (String(repeating: "x", count: 100_000), nil),
    ])
  func nearest(_ name: String, _ expected: String?) {
    #expect(nearestName(to: name, among: ["log", "limits", "max-attempts"]) == expected)
  }

  @Test(
    "completes an abbreviation that fits one name alone",
    arguments: [("warn", "warning"), ("err", "error"), ("w", nil), ("lim", nil)])
  func abbreviation(_ name: String, _ expected: String?) {
    let known = ["warning", "error", "limits", "limiter"]
    #expect(nearestName(to: name, among: known) == expected)
  }

  @Test(
    "completes an abbreviation with one typing error",
    arguments: [
      ("lest-conn", "least-connections"), ("wieghted", "weighted-round-robin"), ("lesx", nil),
      ("lest-cnn", nil),
    ])
  func misspeltAbbreviation(_ name: String, _ expected: String?) {
    let known = ["round-robin", "weighted-round-robin", "least-connections", "random", "ip-hash"]
    #expect(nearestName(to: name, among: known) == expected)
  }

  @Test(
    "counts insertions, deletions, replacements and swaps",
    arguments: [
      ("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 1),
      ("ca", "abc", 3),
    ])
  func distance(_ left: String, _ right: String, _ expected: Int) {
    #expect(editDistance(Array(left.utf8), Array(right.utf8)) == expected)
  }
}
