// Finds the cookies with one name among those of a client.

import HTTP
import Primitives
import Testing

struct CookiesTests {
  private func values(of name: String, in fields: [String]) -> [String] {
    var block = FieldBlock()
    for field in fields { block.append(.cookie, Array(field.utf8).span) }
    var cookies = CookieValues(named: Array(name.utf8))
    var values: [String] = []
    while let value = cookies.next(in: block) {
      values.append(String(decoding: block.bytes(of: value)))
    }
    return values
  }

  private func value(of name: String, in fields: [String]) -> String? {
    values(of: name, in: fields).first
  }

  @Test(arguments: [
    ("b=1", "1"), ("a=0; b=1; c=2", "1"), ("a=0;b=1", "1"), ("  b=1  ; c=2", "1"),
    ("b=", ""), ("b=1; b=2", "1"), ("b=x=y", "x=y"), ("b=\"1\"", "\"1\""),
  ])
  func itIsFoundInAnyPosition(field: String, expected: String) {
    #expect(value(of: "b", in: [field]) == expected)
  }

  @Test(arguments: ["", "b", ";", "bb=1", "ab=1", "B=1", "a=b=1", "a=0; =1", "b =1", "a=; b;"])
  func similarNamesAreSkipped(field: String) {
    #expect(value(of: "b", in: [field]) == nil)
  }

  @Test func itMayBeInAnyOfSeveralFields() {
    #expect(value(of: "b", in: ["a=0", "c=2; b=1", "b=3"]) == "1")
    #expect(value(of: "b", in: []) == nil)
  }

  @Test func allOfOneNameAreFoundInTheirOrder() {
    #expect(values(of: "b", in: ["b=1; a=0; b=2 ;b=", "c=3", ";b=4;"]) == ["1", "2", "", "4"])
    #expect(values(of: "b", in: ["a=b=1; bb=2"]) == [])
  }
}
