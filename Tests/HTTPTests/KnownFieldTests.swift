// Every known name is found, in any case, and similar names are not.

import HTTP
import Primitives
import Testing

struct KnownFieldTests {
  private func parse(_ name: String) -> KnownField? { KnownField(Array(name.utf8).span) }

  @Test(arguments: KnownField.allCases)
  func everyNameIsFoundWhateverItsCase(known: KnownField) {
    let name = "\(known.name)"
    #expect(parse(name) == known)
    #expect(parse(name.lowercased()) == known)
    #expect(parse(name.uppercased()) == known)
  }

  @Test(arguments: KnownField.allCases)
  func aNameWithOneCharacterChangedIsNotKnown(known: KnownField) {
    let name = "\(known.name)"
    for position in name.indices {
      var other = name
      other.replaceSubrange(position...position, with: "!")
      #expect(parse(other) == nil)
    }
    #expect(parse(String(name.dropLast())) == nil)
    #expect(parse(name + "s") == nil)
  }

  @Test func aSetHoldsWhatWasInserted() {
    var set: KnownFieldSet = [.host]
    set.insert(.secWebSocketExtensions)
    for known in KnownField.allCases {
      #expect(set.contains(known) == (known == .host || known == .secWebSocketExtensions))
    }
    #expect(set.isDisjoint(with: [.via]) && !set.isDisjoint(with: [.via, .host]))
    #expect(KnownField.allCases.count <= 64)
  }
}
