// Writing JSON, and accessing its values.

import Testing

@testable import Configuration

@Suite("A JSON value")
struct JSONTests {
  @Test("is written on one line while it fits, and indented beyond")
  func formatting() {
    let short: JSON = ["a": 1, "b": [true, "x"]]
    #expect(short.formatted() == #"{ "a": 1, "b": [true, "x"] }"#)
    let text = JSON.string(String(repeating: "x", count: 60))
    let long: JSON = ["a": text, "b": [text, text], "c": [:], "d": 1]
    #expect(
      long.formatted() == """
        {
          "a": \(text.compact),
          "b": [
            \(text.compact),
            \(text.compact)
          ],
          "c": {},
          "d": 1
        }
        """)
  }

  @Test("reads back as it was written")
  func roundTrip() {
    let text = "a\"\\\u{0}\u{1F}\u{7F}\n😀/"
    let value: JSON = ["k\n": .string(text), "l": [1, .string("")]]
    let read = JSONReader.read(Array(value.formatted().utf8))
    #expect(read.problems == [])
    #expect(read.document.compact == value.compact)
    #expect(read.document["k\n"]?.text == text)
  }

  @Test("gives, takes and drops members, and leaves what isn't an object alone")
  func members() {
    var value: JSON = ["a": 1]
    value["b"] = 2
    value["a"] = nil
    #expect(value.compact == #"{ "b": 2 }"#)
    var list: JSON = [1]
    list["a"] = 1
    #expect(list.compact == "[1]")
  }

  @Test("shows controls of a terminal as escapes, and long text cut off")
  func brief() {
    #expect(JSON.string("\u{1B}[31m").brief == #""\u001b[31m""#)
    #expect(JSON.string(String(repeating: "x", count: 1000)).brief.count == 65)
    #expect(JSON.list([]).brief == "a list")
  }
}
