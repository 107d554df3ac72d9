// maglev: a key has the same member on every node, and only the keys of a member that fails move.

import Primitives
import Testing

@testable import Balancing

@Suite struct MaglevTests {
  private let keys = (0..<3_000).map { mix(UInt64($0) + 1) }

  private func places(_ pool: TestPool, _ keys: [UInt64]) throws -> [Character] {
    try keys.map { key in
      var selection = Selection(affinity: key)
      let pick = try pool.next(&selection, client: .loopbackV4)
      let letter = TestPool.letter(pick)
      pick.release()
      return letter
    }
  }

  /// The names of the members of keys.
  private func names(_ pool: TestPool, _ keys: [UInt64]) throws -> [String] {
    try places(pool, keys).map { pool.member($0).affinityID }
  }

  @Test func nodesWithTheSameMembersInAnyOrderAgree() throws {
    let shapes = [("x", 3), ("y", 1), ("z", 2), ("w", 1)].map { name, weight in
      TestPool.Shape(weight: weight, name: name)
    }
    for strategy in [Strategy.maglev, .ipHash] {
      let first = TestPool(strategy, shapes)
      let second = TestPool(strategy, shapes.reversed())
      second.generator = RandomGenerator(seed: 99)
      let homes = try first.places(clients(500)).map { first.member($0).affinityID }
      #expect(try second.places(clients(500)).map { second.member($0).affinityID } == homes)
      #expect(Set(homes).count == 4)
      // With the same member down as well, and with most of them.
      for down in [["y"], ["x", "y", "z"]] {
        for pool in [first, second] {
          for letter in "abcd" {
            pool.check(letter, up: !down.contains(pool.member(letter).affinityID))
          }
        }
        #expect(
          try first.places(clients(500)).map { first.member($0).affinityID }
            == second.places(clients(500)).map { second.member($0).affinityID })
      }
    }
  }

  @Test func onlyTheKeysOfAFailedOrDrainedMemberMoveAndTheyReturn() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1, 1])
    let before = try places(pool, keys)
    for isDrained in [false, true] {
      if isDrained { pool.record("b").adminState = .draining } else { pool.check("b", up: false) }
      let during = try places(pool, keys)
      for (before, during) in zip(before, during) where before != "b" { #expect(before == during) }
      let moved = tally(zip(before, during).filter { $0.0 == "b" }.map(\.1))
      #expect(moved["b"] == nil && moved.count == 3)
      for count in moved.values { #expect(abs(count - 250) < 80) }
      if isDrained { pool.record("b").adminState = .enabled } else { pool.check("b", up: true) }
      #expect(try places(pool, keys) == before)
    }
  }

  @Test func aWeightThatAnOperatorSetsMovesNothing() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1])
    let before = try places(pool, keys)
    pool.record("c").weightOverride = 100
    #expect(try places(pool, keys) == before)
  }

  @Test func aChangeOfHealthMakesNoNewTable() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1])
    let table = try #require(pool.view.rotation.first.maglev)
    pool.check("b", up: false)
    _ = try pool.pick()
    #expect(!pool.view.rotation.first.eligible.contains { $0.index == 1 })
    #expect(pool.view.rotation.first.maglev === table)
    pool.pool.publish(pool.pool.membership.members)
    _ = try pool.pick()
    #expect(pool.view.rotation.first.maglev === table)
  }

  @Test func withoutAKeyTheAddressOfTheClientCountsAndWithoutBothItIsRandom() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1])
    let before = try pool.places(clients(300))
    #expect(try pool.places(clients(300)) == before)
    #expect(Set(before).count == 3)
    for count in tally(try pool.picks(300)).values { #expect(abs(count - 100) < 40) }
  }

  @Test func theLastMemberLeftServesEveryKey() throws {
    let pool = TestPool(.maglev, weights: [1, 256, 256])
    pool.check("b", up: false)
    pool.check("c", up: false)
    #expect(Set(try places(pool, keys)) == ["a"])
  }

  @Test func aRetryGoesToAnotherMember() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1])
    for key in keys.prefix(50) {
      var selection = Selection(affinity: key)
      var letters: Set<Character> = []
      for _ in 0..<3 { letters.insert(TestPool.letter(try pool.next(&selection))) }
      #expect(letters == ["a", "b", "c"])
    }
  }

  @Test func theTrialOfAnEjectedMemberIsOneOfItsOwnKeys() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1])
    let before = try places(pool, keys)
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(11)
    var trials = 0
    for (key, home) in zip(keys, before) {
      var selection = Selection(affinity: key)
      let pick = try pool.next(&selection)
      if pick.isTrial {
        trials += 1
        #expect(home == "b" && TestPool.letter(pick) == "b")
      }
    }
    #expect(trials == 1)
  }

  // MARK: Bounded load

  @Test func aBoundKeepsABusyKeyFromOneMember() throws {
    let pool = TestPool(
      .maglev, [.init(), .init(), .init(weight: 2)], boundPercent: 125)
    var held: [Character] = []
    var most: [Character: Int] = [:]
    for total in 0..<400 {
      var selection = Selection(affinity: keys[0])
      let letter = TestPool.letter(try pool.next(&selection))
      held.append(letter)
      most[letter, default: 0] += 1
      let cap = (125 * (total + 1) * (letter == "c" ? 2 : 1) + 399) / 400
      #expect(most[letter]! <= cap)
    }
    #expect(most.count == 3)
    for letter in held { pool.record(letter).release() }
    // Without load the key is at home again.
    #expect(try places(pool, [keys[0]]) == [held[0]])
  }

  @Test func withoutABoundOneKeyHasOneMember() throws {
    let pool = TestPool(.maglev, weights: [1, 1, 1])
    var held: Set<Character> = []
    for _ in 0..<100 {
      var selection = Selection(affinity: keys[0])
      held.insert(TestPool.letter(try pool.next(&selection)))
    }
    #expect(held.count == 1)
  }

  @Test func theBoundOfALargePoolIsCountedOnceInAMillisecond() throws {
    let pool = TestPool(
      .maglev, Array(repeating: .init(), count: 100), boundPercent: 200)
    let level = pool.view.rotation.first
    for _ in 0..<50 { _ = pool.pool.membership.members[0].record.tryReserve(limit: nil) }
    #expect(level.bound(percent: 200, at: pool.now).total == 51)
    _ = pool.pool.membership.members[1].record.tryReserve(limit: nil)
    #expect(level.bound(percent: 200, at: pool.now).total == 51)
    #expect(level.bound(percent: 200, at: pool.now + .milliseconds(1)).total == 52)
  }

  @Test func aMemberThatIsFullIsStillBetterThanNoneWithinTheBound() throws {
    let pool = TestPool(
      .maglev, [.init(limit: 1), .init(limit: 1), .init()], boundPercent: 125)
    var held = HeldPicks()
    for key in keys.prefix(60) {
      var selection = Selection(affinity: key)
      held.hold(try pool.next(&selection))
    }
    #expect(tally(held.letters) == ["a": 1, "b": 1, "c": 58])
    held.releaseAll()
  }
}
