// Round robin: exact shares over all threads, and even shares after a member fails.

import Foundation
import Primitives
import Synchronization
import Testing

@testable import Balancing

@Suite struct RoundRobinTests {
  @Test func membersTakeTurnsInOrder() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    #expect(try pool.picks(7) == "abcabca")
  }

  @Test func plainRoundRobinIgnoresWeights() throws {
    let pool = TestPool(.roundRobin, weights: [5, 1])
    #expect(try pool.picks(4) == "abab")
  }

  @Test func weightsFiveOneOneAreExactInEveryWindowOfSeven() throws {
    let pool = TestPool(.weightedRoundRobin, weights: [5, 1, 1])
    let picks = Array(try pool.picks(70))
    #expect(String(picks.prefix(7)) == "aabacaa")
    for start in 0...(picks.count - 7) {
      #expect(tally(picks[start..<start + 7]) == ["a": 5, "b": 1, "c": 1])
    }
  }

  /// Views of two workers: exact in the order of their picks, whichever worker picks.
  @Test func sharesAreExactOverSeveralWorkersInPickOrder() throws {
    let first = TestPool(.weightedRoundRobin, weights: [5, 1, 1])
    var other = PoolView(first.pool)
    var picks: [Character] = []
    for turn in 0..<70 {
      var selection = Selection()
      if turn % 3 == 0 { swap(&first.view, &other) }
      let pick = try first.next(&selection)
      picks.append(TestPool.letter(pick))
      pick.release()
    }
    for start in 0...(picks.count - 7) {
      #expect(tally(picks[start..<start + 7]) == ["a": 5, "b": 1, "c": 1])
    }
  }

  @Test func fourThreadsDrawingAtOnceGetExactSharesInTotal() {
    let pool = TestPool(.weightedRoundRobin, weights: [5, 1, 1]).pool
    let totals = Mutex([0, 0, 0])
    let perThread = 7_000
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      var view = PoolView(pool)
      var generator = RandomGenerator(seed: UInt64(thread))
      var counts = [0, 0, 0]
      for _ in 0..<perThread {
        var selection = Selection()
        guard
          let pick = try? selection.next(
            in: &view, client: nil, at: .origin, generator: &generator)
        else { continue }
        counts[pick.index] += 1
        pick.release()
      }
      totals.withLock { totals in
        for index in 0..<3 { totals[index] += counts[index] }
      }
    }
    #expect(totals.withLock { $0 } == [20_000, 4_000, 4_000])
    for member in pool.membership.members { #expect(member.record.activeCount == 0) }
  }

  @Test func theShareOfADeadMemberIsSpreadEvenlyOverTheOthers() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    pool.check("b", up: false)
    #expect(tally(try pool.picks(100)) == ["a": 50, "c": 50])
    pool.check("b", up: true)
    #expect(tally(try pool.picks(99)) == ["a": 33, "b": 33, "c": 33])
  }

  @Test func theShareOfAFullMemberIsSpreadEvenlyOverTheOthers() throws {
    let pool = TestPool(.roundRobin, [.init(limit: 1), .init(), .init()])
    let held = try pool.pick()
    #expect(TestPool.letter(held) == "a")
    #expect(tally(try pool.picks(100)) == ["b": 50, "c": 50])
    held.release()
  }

  @Test func theCursorGoesOnWhenTheMembersChange() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    #expect(try pool.picks(4) == "abca")
    pool.pool.publish(TestPool.members([.init(), .init(), .init()], registry: pool.registry))
    #expect(try pool.picks(3) == "bca")
  }

  @Test func aWeightOverrideIsUsedAtOnceUntilItIsRemoved() throws {
    let pool = TestPool(.weightedRoundRobin, weights: [1, 1])
    pool.record("a").weightOverride = 3
    #expect(tally(try pool.picks(40)) == ["a": 30, "b": 10])
    pool.record("a").weightOverride = nil
    #expect(tally(try pool.picks(40)) == ["a": 20, "b": 20])
  }
}
