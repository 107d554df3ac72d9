// power-of-two: the less busy of two random members, by weight.

import Primitives
import Testing

@testable import Balancing

@Suite struct PowerOfTwoTests {
  @Test func anIdlePoolIsUsedByWeight() throws {
    let pool = TestPool(.powerOfTwo, weights: [1, 2, 1])
    let counts = tally(try pool.picks(4_000))
    #expect(abs(counts["a", default: 0] - 1_000) < 120)
    #expect(abs(counts["b", default: 0] - 2_000) < 150)
  }

  @Test func theBusierOfTwoIsPassedOver() throws {
    let pool = TestPool(.powerOfTwo, weights: [1, 1])
    for _ in 0..<10 { _ = pool.record("a").tryReserve(limit: nil) }
    #expect(try pool.picks(100) == String(repeating: "b", count: 100))
  }

  @Test func heldExchangesSpreadByWeight() throws {
    let pool = TestPool(.powerOfTwo, weights: [1, 1, 2, 4])
    var held = HeldPicks()
    for _ in 0..<800 { held.hold(try pool.pick()) }
    let counts = tally(held.letters)
    for (letter, fair) in [("a", 100), ("b", 100), ("c", 200), ("d", 400)] as [(Character, Int)] {
      #expect(abs(counts[letter, default: 0] - fair) <= fair / 10)
    }
    held.releaseAll()
  }

  @Test func theMostBusyOfManyIsFarLessBusyThanAtRandom() throws {
    func most(_ strategy: Strategy) throws -> Int {
      let pool = TestPool(strategy, weights: Array(repeating: 1, count: 100))
      for _ in 0..<1_000 { _ = try pool.pick() }
      return pool.pool.membership.members.map(\.record.activeCount).max()!
    }
    let (two, random) = (try most(.powerOfTwo), try most(.random))
    #expect(two <= 13 && random > 15)
  }

  @Test func theSameSeedGivesTheSamePicks() throws {
    let (first, second) = (
      TestPool(.powerOfTwo, weights: [1, 2, 3]), TestPool(.powerOfTwo, weights: [1, 2, 3])
    )
    #expect(try first.picks(200) == second.picks(200))
  }
}
