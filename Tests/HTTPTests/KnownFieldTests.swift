// Every known name is found, in any case, and similar names are not.

@testable import HTTP
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

  /// After a change of the names, the literal is what this expects.
  @Test func theTableOfSlotsFitsTheNames() {
    var slots = [Character](repeating: ".", count: 256)
    for known in KnownField.allCases {
      var slot = KnownField.slot(known.name.bytes)
      while slots[slot] != "." { slot = (slot + 1) & 0xFF }
      slots[slot] = Character(UnicodeScalar(0x30 + known.rawValue))
    }
    #expect("\(KnownField.slots)" == String(slots))
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
