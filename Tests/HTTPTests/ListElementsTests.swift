// Iteration from either end finds the same elements.

import HTTP
import Primitives
import Testing

struct ListElementsTests {
  @Test(arguments: [
    ("a", ["a"]), ("a,b", ["a", "b"]), (" a , b\t", ["a", "b"]), ("", []), (" ", []), (",", []),
    (",,a,, ,b,", ["a", "b"]), ("a b,c", ["a b", "c"]), ("\"a,b\"", ["\"a", "b\""]),
  ])
  func elementsComeTrimmedAndWithoutEmptyOnes(value: String, expected: [String]) {
    var block = FieldBlock()
    // Stored text, since a codec would have trimmed the value of a field.
    _ = block.store(("x," as StaticString).bytes)
    let slice = block.store(Array(value.utf8).span)
    _ = block.store((",y" as StaticString).bytes)

    var forwards: [String] = []
    var elements = ListElements(slice)
    while let element = elements.next(in: block) {
      forwards.append(String(decoding: block.bytes(of: element)))
    }
    #expect(forwards == expected)

    var backwards: [String] = []
    elements = ListElements(slice)
    while let element = elements.last(in: block) {
      backwards.append(String(decoding: block.bytes(of: element)))
    }
    #expect(backwards == expected.reversed())
  }

  @Test func theTwoEndsMeetInTheMiddle() {
    var block = FieldBlock()
    let slice = block.store(("a,b,c" as StaticString).bytes)
    var elements = ListElements(slice)
    let steps = [
      elements.next(in: block), elements.last(in: block), elements.next(in: block),
      elements.last(in: block), elements.next(in: block),
    ]
    #expect(steps == [Slice(0..<1), Slice(4..<5), Slice(2..<3), nil, nil])
  }
}
