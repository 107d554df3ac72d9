// Listing, finding, removing and appending fields.

import HTTP
import Primitives
import Testing

struct FieldBlockTests {
  /// `#expect` splits its expression, which doesn't work with values that can't be copied.
  private func expect(_ holds: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(holds, sourceLocation: sourceLocation)
  }

  /// The remaining fields, as text.
  private func lines(_ block: borrowing FieldBlock) -> [String] {
    var lines: [String] = []
    for index in 0..<block.count where !block[index].isRemoved {
      lines.append(String(decoding: block.bytes(of: block[index].line)))
    }
    return lines
  }

  private func block(_ fields: [(String, String)]) -> FieldBlock {
    var block = FieldBlock()
    for (name, value) in fields {
      block.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    }
    return block
  }

  @Test func anAppendedFieldIsOneWholeLine() {
    let block = block([("X-One", "1"), ("host", "a.example")])
    expect(lines(block) == ["X-One: 1\r\n", "host: a.example\r\n"])
    expect(block[0].known == nil)
    expect(block[1].known == .host)
    expect(String(decoding: block.bytes(of: block[1].value)) == "a.example")
    expect(String(decoding: block.bytes(of: block[0].name)) == "X-One")
  }

  @Test func aCopyHasWhatIsLeftAndNoSpareMemory() {
    var source = block([("host", "a"), ("x", String(repeating: "y", count: 10_000)), ("via", "b")])
    source.removeAll(of: .host)
    let copy = FieldBlock(copying: source)
    expect(lines(copy) == lines(source) && copy.count == 2)
    expect(copy.first(.via) != nil && copy.first(.host) == nil)
    expect(copy.storedByteCount < 10_500)
  }

  @Test(arguments: [
    ("", "v"), ("a b", "v"), ("a:", "v"), ("a\r\nb", "v"), ("a", "v\r\nb: c"), ("a", "v\n"),
    ("a", "\0"), ("a", "\u{7F}"), ("ä", "v"),
  ])
  func aFieldThatCouldBeReadAsTwoIsRefused(name: String, value: String) {
    var block = FieldBlock()
    let taken = block.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
    #expect(!taken)
    expect(block.count == 0)
  }

  @Test func aValueIsBuiltOfPieces() {
    var block = block([("X-Forwarded-For", "192.0.2.1")])
    let earlier = block.first(.xForwardedFor)
    block.removeAll(of: .xForwardedFor)
    let address = block.store(IPAddress(high: 0x2001_0db8 << 32, low: 1))
    block.beginField(.xForwardedFor)
    if let earlier { block.appendValue(earlier) }
    block.appendValue(", ")
    block.appendValue(address)
    block.appendValue(" ")
    block.appendValue(decimal: 443)
    block.endField()
    block.append(.via, "1.1 martlet")
    expect(
      lines(block) == [
        "X-Forwarded-For: 192.0.2.1, 2001:db8::1 443\r\n", "Via: 1.1 martlet\r\n",
      ])
    expect(block.first(.xForwardedFor) == block[1].value)
  }

  @Test func aPieceOfAValueCanNotEndItsLine() {
    var block = FieldBlock()
    block.beginField(.server)
    block.appendValue(Array("a\r\nEvil: 1\0\tb".utf8).span)
    block.endField()
    expect(lines(block) == ["Server: a  Evil: 1  b\r\n"])
  }

  @Test func aFieldLeftOpenIsClosedByWhatComesNext() {
    var block = FieldBlock()
    block.beginField(.server)
    block.appendValue("one")
    block.beginField(.via)
    block.appendValue("two")
    let path = block.store(("/path" as StaticString).bytes)
    expect(lines(block) == ["Server: one\r\n", "Via: two\r\n"])
    expect(String(decoding: block.bytes(of: path)) == "/path")
  }

  @Test func removingByKnownFieldTakesEveryLineOfIt() {
    var block = block([("Cookie", "a"), ("Accept", "b"), ("COOKIE", "c")])
    block.removeAll(of: .cookie)
    expect(lines(block) == ["Accept: b\r\n"])
    expect(!block.contains(.cookie))
    expect(block.contains(.accept))
    block.append(.cookie, "new")
    expect(block.first(.cookie) == block[3].value)
  }

  @Test func removingByNameIgnoresCase() {
    var block = block([("X-Secret", "a"), ("x-secret", "b"), ("X-Secrets", "c")])
    let name = Array("X-SECRET".utf8)
    expect(block.first(named: name.span) == block[0].value)
    block.removeAll(named: name.span)
    expect(lines(block) == ["X-Secrets: c\r\n"])
    expect(block.first(named: name.span) == nil)
  }

  @Test func fieldsThatAListNamesAreRemovedInAnyPosition() {
    var block = block([
      ("X-HOP", "0"), ("Connection", "close, X-Hop,client-ip,x-long-enough-for-two-words, host,TE"),
      ("x-hop", "1"), ("Client-IP", "2"), ("X-Long-Enough-For-Two-Words", "3"), ("Host", "4"),
      ("te", "5"), ("X-Long-Enough-For-Two-Word", "6"), ("X-Ho", "7"), ("connection", "x-ho"),
    ])
    let namesOthers = block.removeAll(
      namedIn: .connection, except: [.host], .forwarding)
    expect(namesOthers)
    expect(
      lines(block) == [
        "Connection: close, X-Hop,client-ip,x-long-enough-for-two-words, host,TE\r\n",
        "Client-IP: 2\r\n",
        "Host: 4\r\n", "X-Long-Enough-For-Two-Word: 6\r\n", "connection: x-ho\r\n",
      ])
  }

  @Test func lookalikesAreRemovedButNotTheFieldItself() {
    var block = block([
      ("X_Forwarded-For", "a"), ("x_forwarded_for", "b"), ("X-Forwarded-For", "c"),
      ("X_Forwarded_Fox", "d"), ("X.Forwarded~for", "e"),
    ])
    block.removeLookalikes(of: [.xForwardedFor])
    expect(lines(block) == ["X-Forwarded-For: c\r\n", "X_Forwarded_Fox: d\r\n"])
  }

  @Test(arguments: ["X.Forwarded.For", "X-Forwarded!For", "x*forwarded-for", "X^Forwarded`For"])
  func everyCharacterThatBecomesAnUnderscoreInAVariableMakesALookalike(name: String) {
    var block = block([(name, "a")])
    block.removeLookalikes(of: [.xForwardedFor])
    expect(lines(block) == [])
  }

  @Test func removingByNameAlsoRemovesSimilarNamesAmongTheFirstFields() {
    var block = block([
      ("X_User", "a"), ("x-user", "b"), ("X-Users", "c"), ("X.USER", "d"), ("X_User", "e"),
      ("X-USER", "f"),
    ])
    let name = Array("X-User".utf8)
    block.removeAll(named: name.span, alikeAmongFirst: 4)
    expect(lines(block) == ["X-Users: c\r\n", "X_User: e\r\n"])
  }

  @Test func aTokenIsFoundInAnyLineAndCase() {
    let block = block([("Connection", "keep-alive"), ("Connection", " foo ,CLOSE")])
    expect(block.contains(token: "close", in: .connection))
    expect(block.contains(token: "keep-alive", in: .connection))
    expect(!block.contains(token: "keep", in: .connection))
    expect(!block.contains(token: "close", in: .te))
  }

  @Test func adoptedTextIsListedInPlace() {
    var block = block([("Old", "x")])
    block.adopt(Array("GET\r\nHost:  a \r\nTE : b\r\n".utf8).span)
    block.list(.host, name: Slice(5..<9), value: Slice(12..<13), lineEnd: 16)
    block.closeUp(name: Slice(16..<18), colon: 19)
    block.list(.te, name: Slice(16..<18), value: Slice(21..<22), lineEnd: 24)
    block.append(.via, "c")
    expect(lines(block) == ["Host:  a \r\n", "TE:  b\r\n", "Via: c\r\n"])
    expect(block[1].known == .te)
  }

  @Test func resetForgetsEverything() {
    var block = block([("Host", "a")])
    block.beginField(.via)
    block.reset()
    block.endField()
    expect(block.count == 0)
    expect(!block.contains(.host))
    expect(block.first(named: Array("host".utf8).span) == nil)
  }

  /// The index by name must agree with a walk over all fields, whatever was removed or added.
  @Test(arguments: 0..<200 as Range<UInt64>)
  func findingByNameAgreesWithAWalkOverAllFields(seed: UInt64) {
    var generator = RandomGenerator(seed: seed)
    let names: [KnownField] = [.host, .cookie, .via, .connection]
    var block = FieldBlock()
    for _ in 0..<60 {
      let name = names[Int(generator.next() % 4)]
      switch generator.next() % 6 {
      case 0...2: block.append(name, "v")
      case 3: block.removeAll(of: name)
      case 4: block.removeAll(of: [name, names[Int(generator.next() % 4)]])
      default:
        if block.count > 0 { block.remove(at: Int(generator.next() % UInt64(block.count))) }
      }
      if generator.next() % 40 == 0 { block.reset() }
      for known in names {
        var walked: [Int] = []
        for index in 0..<block.count where block[index].known == known && !block[index].isRemoved {
          walked.append(index)
        }
        var found: [Int] = []
        var next = block.firstIndex(of: known)
        while let index = next {
          found.append(index)
          next = block.nextIndex(of: known, after: index)
        }
        #expect(found == walked)
      }
    }
  }
}
