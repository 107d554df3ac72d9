// Parsing of methods, and the tables of RFC 9110 9.2.

import HTTP
import Primitives
import Testing

struct MethodTests {
  private func parse(_ name: String) -> Method { Method(Array(name.utf8).span) }

  @Test(arguments: Method.allCases.filter { $0 != .other })
  func everyMethodIsFoundByItsNameInThisCaseOnly(method: Method) {
    let name = "\(method.name)"
    #expect(parse(name) == method)
    #expect(parse(name.lowercased()) == .other)
    #expect(parse(name + "X") == .other)
    for position in name.indices {
      var other = name
      other.replaceSubrange(position...position, with: "_")
      #expect(parse(other) == .other)
    }
  }

  @Test func otherMethodsAreNeitherSafeNorIdempotent() {
    #expect(parse("PROPFIND") == .other)
    #expect(parse("") == .other)
    #expect(!Method.other.isSafe && !Method.other.isIdempotent)
  }

  @Test func safeAndIdempotentMethodsAreThoseOfTheRFC() {
    #expect(Set(Method.allCases.filter(\.isSafe)) == [.get, .head, .options, .trace])
    #expect(
      Set(Method.allCases.filter(\.isIdempotent)) == [.get, .head, .options, .trace, .put, .delete])
  }
}
