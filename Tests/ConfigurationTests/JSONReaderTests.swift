// The JSON reader: what it accepts, its messages, and that no input makes it trap.

import Primitives
import Testing

@testable import Configuration

private func read(_ text: String) -> (document: JSON, problems: [JSONReader.Problem]) {
  JSONReader.read(Array(text.utf8))
}

@Suite("The JSON reader")
struct JSONReaderTests {
  @Test(
    "takes what JSON is, and comments",
    arguments: [
      ("null", "null"), (" true ", "true"), ("-0.5e+3", "-0.5e+3"), ("0", "0"),
      (#""""#, #""""#), ("[]", "[]"), ("{}", "{}"), ("[1, [2], {}]", "[1, [2], {}]"),
      (#"{"a":1,"b":{"c":[true,false]}}"#, #"{ "a": 1, "b": { "c": [true, false] } }"#),
      ("// one\n[1, // two\n2] // three", "[1, 2]"), ("/* a */[/**/1/* , */]", "[1]"),
      ("\u{FEFF}[1]", "[1]"), ("\r\n\t1", "1"),
      (#""\"\\\/\b\f\n\r\t""#, #""\"\\/\u0008\u000c\n\r\t""#),
      (#""\u0041\u00e9\u20AC""#, #""Aé€""#),
      (#""\ud83d\ude00""#, "\"😀\""), (#""é😀""#, #""é😀""#),
      (#""// no comment""#, #""// no comment""#),
    ])
  func valid(_ text: String, _ compact: String) {
    let (document, problems) = read(text)
    #expect(problems == [])
    #expect(document.compact == compact)
  }

  @Test(
    "refuses what JSON isn't, and says where and why",
    arguments: [
      ("", 0, "the file ends where a value is expected"),
      ("{", 0, "this \"{\" is not closed"),
      ("[1", 0, "this \"[\" is not closed"),
      ("[1,]", 2, "a comma is not allowed before a closing bracket"),
      (#"{"a":1,}"#, 6, "a comma is not allowed before a closing bracket"),
      ("[,1]", 1, "a value is missing before this comma"),
      ("{,}", 1, "a key is missing before this comma"),
      ("[1 2]", 3, "a comma or \"]\" is missing before this"),
      (#"{"a":1 "b":2}"#, 7, "a comma or \"}\" is missing before this"),
      (#"{"a" 1}"#, 5, "a colon and a value must follow the key \"a\""),
      ("{a:1}", 1, "the key a needs double quotes"),
      ("{1:1}", 1, "the key 1 needs double quotes"),
      ("{'a':1}", 1, "unexpected \"'\"; a key in double quotes is expected here"),
      ("['a']", 1, "use double quotes for text"),
      (#"{"a":1,"a":2}"#, 7, "duplicate key \"a\"; line 1 has it already"),
      ("[1}", 2, "unexpected \"}\"; \"]\" is expected here"),
      (#"{"a":1]"#, 6, "unexpected \"]\"; \"}\" is expected here"),
      ("[1] 2", 4, "unexpected text after the end of the configuration"),
      ("[nul]", 1, "nul is not a JSON value; text needs double quotes"),
      ("[01]", 1, "01 is not a valid JSON number; text needs double quotes"),
      ("[1.]", 1, "1. is not a valid JSON number; text needs double quotes"),
      ("[+1]", 1, "+1 is not a valid JSON number; text needs double quotes"),
      ("[.5]", 1, ".5 is not a valid JSON number; text needs double quotes"),
      ("[1e]", 1, "1e is not a valid JSON number; text needs double quotes"),
      ("[5s]", 1, "5s is not a valid JSON number; text needs double quotes"),
      ("[\"a\n\"]", 1, "this text is not closed: a double quote is missing"),
      ("\"a", 0, "this text is not closed"),
      ("\"\t\"", 1, "write control characters in text as escapes, such as \\t"),
      (#""\x""#, 1, "unknown escape; write a backslash as \\\\"),
      (#""\u12g4""#, 1, "four hexadecimal digits must follow \\u"),
      (#""\ud83d""#, 1, "this is one half of a surrogate pair; the other half is missing"),
      (#""\ude00""#, 1, "this is one half of a surrogate pair; the other half is missing"),
      (#""\ud83dA""#, 1,
        "this is one half of a surrogate pair; the other half is missing"),
      (#""\ude00\ude00""#, 1,
        "this is one half of a surrogate pair; the other half is missing"),
      ("/* a", 0, "this comment is not closed"),
      ("[/]", 1, "unexpected \"/\"; a value is expected here"),
    ])
  func invalid(_ text: String, _ offset: Int, _ message: String) {
    #expect(read(text).problems.first == JSONReader.Problem(offset: offset, message: message))
  }

  @Test("refuses bytes that aren't UTF-8, at the first of them")
  func encoding() {
    let problems = JSONReader.read([0x22, 0x61, 0xC3, 0x28, 0x22]).problems
    #expect(problems == [JSONReader.Problem(offset: 2, message: "this is not valid UTF-8")])
  }

  @Test("refuses values that are nested too deeply, and continues after them")
  func depth() {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    #expect(read(nested(JSONReader.maxDepth)).problems == [])
    let deep = read(#"{"a": \#(nested(100_000)), "b": nul}"#)
    #expect(deep.problems.count == 2)
    #expect(
      deep.problems.first?.message == "this is nested too deeply; at most 32 levels are allowed")
  }

  @Test("refuses a file that is too large without reading it")
  func size() {
    let bytes = [UInt8](repeating: 0x20, count: JSONReader.maxByteCount + 1)
    #expect(JSONReader.read(bytes).problems.count == 1)
  }

  @Test("reports several problems, and keeps what it could read between them")
  func recovery() {
    let (document, problems) = read(
      """
      {
        "a": nope,
        "b": [1, ?, 3],
        c: 4
        "d": "x\\q",
        "e": { "f" 5, "g": 6 },
        "h": 7,
      }
      """)
    #expect(problems.map(\.offset) == [9, 26, 35, 42, 49, 67, 88])
    #expect(
      document.compact
        == #"{ "a": null, "b": [1, null, 3], "c": 4, "d": null, "e": { "g": 6 }, "h": 7 }"#)
  }

  @Test("stops after twenty problems")
  func manyProblems() {
    let text = "[" + String(repeating: "?,", count: 1000) + "1]"
    #expect(read(text).problems.count == JSONReader.maxProblemCount)
  }

  @Test("knows the offset of every key and value")
  func offsets() {
    let document = read(#"{ "a" : [ 1,  "b" ] }"#).document
    guard case .object(let members) = document.value, let member = members.first else {
      Issue.record("not an object")
      return
    }
    #expect(member.nameOrigin == .offset(2))
    #expect(member.value.origin == .offset(8))
    #expect(member.value.items?.map(\.origin) == [.offset(10), .offset(14)])
  }

  @Test("never traps, and reports positions within the text: random input and mutations by seed")
  func garbage() {
    let sample = Array(
      """
      {"listeners": [{"listen": "*:443", "hsts": {}}], // one
       "pools": [{"backends": ["127.0.0.1:1", {"address": "\\ud83d\\ude00é:2", "weight": 1e3}],
       "health": {"interval": "5s", "expect": [200, "300-399"]}, "timeouts": {"idle": "1m"}}],
       "limits": {"body-size": "1GiB"}, /* two */ "routes": [{"path": "/a", "respond": {}}]}
      """.utf8)
    let alphabet =
      Array(#"{}[]",:\/*'u+-.0519eEtn "#.utf8) + [0, 0x0A, 0x7F, 0x80, 0xC3, 0xF0, 0xFF]
    for seed in 0..<1000 as Range<UInt64> {
      var random = RandomGenerator(seed: seed)
      var bytes = sample
      if seed % 3 == 0 {
        bytes = (0..<random.next(below: 80)).map { _ in
          alphabet[random.next(below: alphabet.count)]
        }
      } else {
        for _ in 0...random.next(below: 8) {
          let index = random.next(below: bytes.count)
          switch random.next(below: 4) {
          case 0: bytes.remove(at: index)
          case 1: bytes.insert(alphabet[random.next(below: alphabet.count)], at: index)
          case 2: bytes[index] = alphabet[random.next(below: alphabet.count)]
          default: bytes.removeSubrange(index..<min(bytes.count, index + random.next(below: 20)))
          }
          if bytes.isEmpty { bytes = [0x7B] }
        }
      }
      let problems = JSONReader.read(bytes).problems
      #expect(problems.allSatisfy { (0...bytes.count).contains($0.offset) }, "seed \(seed)")
      let reading = Configuration.read(bytes)
      let hasErrors = reading.diagnostics.contains { $0.severity == .error }
      #expect((reading.configuration == nil) == hasErrors, "seed \(seed)")
    }
  }
}
