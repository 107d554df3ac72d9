// The ring of ticket keys: rotation, shared secrets, and who can open what.

import Testing

@testable import TLS

@Suite("TicketKeys") struct TicketKeysTests {
  @Test("Rotation keeps a bounded number of keys and seals with the newest")
  func rotation() throws {
    let keys = try TicketKeys()
    let first = try #require(keys.sealing)
    #expect(keys.opening(first.name)?.isPresent == true)
    try keys.rotate()
    #expect(keys.opening(first.name)?.isPresent == false)
    #expect(keys.sealing?.hasName(first.name) == false)
    for _ in 0..<10 { try keys.rotate() }
    #expect(keys.count == TicketKeys.keyCountMax)
    #expect(keys.opening(first.name) == nil)
  }

  @Test("Secrets of other lengths, and no secrets, are refused")
  func lengths() throws {
    for secrets in [[], [pattern(47)], [pattern(48), pattern(79)], [[UInt8]()]] {
      #expect(TicketKeys(secrets: secrets) == nil)
    }
    let keys = try #require(TicketKeys(secrets: [pattern(48), pattern(80)]))
    #expect(keys.count == 2)
    #expect(!keys.replace(secrets: [pattern(3)]))
    #expect(keys.count == 2)
    #expect(keys.replace(secrets: [pattern(80)]))
    #expect(keys.count == 1)
  }

  @Test("Shared keys don't rotate by themselves")
  func shared() throws {
    let keys = try #require(TicketKeys(secrets: [pattern(48)]))
    let name = try #require(keys.sealing).name
    try keys.rotate()
    #expect(keys.count == 1)
    #expect(keys.opening(name)?.isPresent == true)
  }

  @Test("The parts of a key differ from each other and from the secret")
  func derivation() throws {
    let secret = pattern(80)
    let key = try #require(TicketKey(secret: secret))
    let name = key.name.indices.map { key.name[$0] }
    let cipher = key.cipherKey.indices.map { key.cipherKey[$0] }
    let mac = key.macKey.indices.map { key.macKey[$0] }
    #expect(cipher != mac && name != Array(cipher[..<16]) && name != Array(mac[..<16]))
    #expect(name != Array(secret[..<16]))
  }
}
