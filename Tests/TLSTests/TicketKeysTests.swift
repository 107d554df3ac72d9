// The ring of ticket keys: rotation, shared secrets, and which keys can decrypt which tickets.

import Testing

@testable import TLS

@Suite("TicketKeys") struct TicketKeysTests {
  @Test("Rotation keeps a bounded number of keys and encrypts with the newest")
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

  @Test("Shared keys that were set later don't rotate either, until sharing stops")
  func sharedLater() throws {
    let keys = try TicketKeys()
    #expect(keys.replace(secrets: [pattern(48)]))
    #expect(keys.exported.isEmpty)
    let name = try #require(keys.sealing).name
    try keys.rotate()
    #expect(keys.opening(name)?.isPresent == true)
    keys.stopSharing()
    try keys.rotate()
    #expect(keys.opening(name)?.isPresent == false)
  }

  @Test("Another process decrypts with every exported key, and encrypts with the same one")
  func handedOver() throws {
    let old = try TicketKeys()
    try old.rotate()
    let new = try TicketKeys()
    #expect(new.restore(old.exported))
    #expect(new.exported == old.exported)
    #expect(new.count == 2)
    let sealing = try #require(old.sealing)
    #expect(new.opening(sealing.name)?.isPresent == true)
    try new.rotate()
    #expect(new.opening(sealing.name)?.isPresent == false)
    for broken in [[], [pattern(79)], old.exported + [pattern(3)]] {
      #expect(!new.restore(broken))
      #expect(new.count == 3)
    }
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
