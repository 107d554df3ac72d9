// ip-hash: a client stays with its member. Only a failed member's clients move, and they return.

import Primitives
import Testing

@testable import Balancing

@Suite struct IPHashTests {
  private let many = clients(3_000)

  @Test func aClientAlwaysComesToTheSameMember() throws {
    let pool = TestPool(.ipHash, weights: [1, 1, 1])
    let first = try pool.places(many)
    let second = try pool.places(many)
    #expect(first == second)
    for count in tally(first).values { #expect(abs(count - 1_000) < 120) }
  }

  @Test func sharesFollowTheWeights() throws {
    let pool = TestPool(.ipHash, weights: [4, 1, 1])
    let counts = tally(try pool.places(many))
    #expect(abs(counts["a", default: 0] - 2_000) < 150)
  }

  @Test func onlyTheClientsOfAFailedMemberMoveAndTheyReturn() throws {
    let pool = TestPool(.ipHash, weights: [1, 1, 1])
    let before = try pool.places(many)
    pool.check("b", up: false)
    let during = try pool.places(many)
    for (before, during) in zip(before, during) where before != "b" { #expect(before == during) }
    let moved = tally(zip(before, during).filter { $0.0 == "b" }.map(\.1))
    #expect(moved["b"] == nil)
    // They spread over both others, and don't all go to the neighbour.
    #expect(abs(moved["a", default: 0] - moved["c", default: 0]) < 120)
    pool.check("b", up: true)
    #expect(try pool.places(many) == before)
  }

  @Test func aDrainedOrReweightedMemberMovesNoOtherClients() throws {
    let pool = TestPool(.ipHash, weights: [1, 1, 1])
    let before = try pool.places(many)
    pool.record("a").adminState = .draining
    pool.record("c").weightOverride = 100
    let during = try pool.places(many)
    for (before, during) in zip(before, during) where before != "a" { #expect(before == during) }
    #expect(!during.contains("a"))
  }

  @Test func theLastMemberLeftServesEveryone() throws {
    let pool = TestPool(.ipHash, weights: [1, 256, 256])
    pool.check("b", up: false)
    pool.check("c", up: false)
    #expect(Set(try pool.places(many)) == ["a"])
  }

  @Test func aRetryGoesToAnotherMember() throws {
    let pool = TestPool(.ipHash, weights: [1, 1, 1])
    for client in many.prefix(50) {
      var selection = Selection()
      var letters: Set<Character> = []
      for _ in 0..<3 { letters.insert(TestPool.letter(try pool.next(&selection, client: client))) }
      #expect(letters == ["a", "b", "c"])
    }
  }

  @Test func hostsOfOneIPv6NetworkAreOneClient() throws {
    let pool = TestPool(.ipHash, weights: [1, 1, 1])
    let hosts = (0..<50).map { IPAddress(high: 0x2001_0DB8_0000_0001, low: mix($0)) }
    #expect(Set(try pool.places(hosts)).count == 1)
    let networks = (0..<50).map { IPAddress(high: 0x2001_0DB8_0000_0000 + $0, low: 1) }
    #expect(Set(try pool.places(networks)).count == 3)
  }

  @Test func theTrialOfAnEjectedMemberIsOneOfItsOwnClients() throws {
    let pool = TestPool(.ipHash, weights: [1, 1, 1])
    let before = try pool.places(many)
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(11)
    var trials = 0
    for (client, home) in zip(many, before) {
      let pick = try pool.pick(client: client)
      if pick.isTrial {
        trials += 1
        #expect(home == "b" && TestPool.letter(pick) == "b")
      } else if home != "b" {
        #expect(TestPool.letter(pick) == home)
      }
    }
    #expect(trials == 1)
  }
}
