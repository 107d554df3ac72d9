// Weights of single media ranges in Accept.

import HTTP
import Primitives
import Testing

struct AcceptTests {
  private func weight(_ lines: [String], _ range: StaticString) -> Int {
    var block = FieldBlock()
    for line in lines { block.append(.accept, Array(line.utf8).span) }
    return block.weight(accepting: range)
  }

  @Test(arguments: [
    ("text/html", 1000), ("TEXT/Html", 1000), ("text/html;q=0.5", 500), ("text/html ; q=0.25", 250),
    ("text/html;level=1;q=0.125", 125), ("text/html;Q=1.000", 1000), ("text/html;q=0", 0),
    ("a/b, text/html;q=0.7", 700), ("text/html;q=0.1, text/html;q=0.2", 200),
    ("text/html;level=1", 1000),
    // Invalid weights count as 0.
    ("text/html;q=", 0), ("text/html;q=2", 0), ("text/html;q=1.001", 0), ("text/html;q=0.1234", 0),
    ("text/html;q=x", 0), ("text/html;q=0,5", 0), ("text/html;q=-1", 0), ("text/html;q=.5", 0),
    // Other ranges.
    ("", 0), ("*/*", 0), ("text/*", 0), ("text/htm", 0), ("text/htmlx", 0), (";q=1", 0),
  ])
  func aRangeHasTheWeightThatItIsNamedWith(value: String, expected: Int) {
    #expect(weight([value], "text/html") == expected)
  }

  @Test func allLinesCount() {
    #expect(weight(["a/b", "text/html;q=0.3"], "text/html") == 300)
    #expect(weight([], "text/html") == 0)
    #expect(weight(["text/html;q=0.3, */*;q=0.1"], "*/*") == 100)
  }
}
