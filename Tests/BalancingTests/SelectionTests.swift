// Selection: the order of ranks, the limits, and the reason when no member is available.

import Foundation
import Primitives
import Synchronization
import Testing

@testable import Balancing

@Suite struct SelectionTests {
  @Test(arguments: Strategy.allCases)
  func noMemberIsTriedTwiceWhileAnotherIsAvailable(strategy: Strategy) throws {
    let pool = TestPool(strategy, weights: [9, 1, 4, 1])
    for client in clients(50) {
      var selection = Selection()
      var letters: [Character] = []
      for _ in 0..<4 {
        let pick = try pool.next(&selection, client: client)
        letters.append(TestPool.letter(pick))
        pick.release()
      }
      #expect(Set(letters) == ["a", "b", "c", "d"])
      // Then a member that was already tried is better than none.
      try pool.next(&selection, client: client).release()
      #expect(selection.pickCount == 5)
    }
  }

  @Test(arguments: Strategy.allCases)
  func backupsServeOnlyWhileNoPrimaryIsAvailable(strategy: Strategy) throws {
    let pool = TestPool(
      strategy, [.init(), .init(limit: 1), .init(tier: 1), .init(tier: 1)])
    func served() throws -> Set<Character> { Set(try pool.places(clients(40))) }
    #expect(try served() == ["a", "b"])
    pool.check("a", up: false)
    #expect(try served() == ["b"])
    let held = try pool.pick()
    #expect(try served() == ["c", "d"])
    held.release()
    #expect(try served() == ["b"])
  }

  @Test func aRetryGoesToABackupBeforeAMemberThatWasTried() throws {
    let pool = TestPool(.roundRobin, [.init(), .init(tier: 1)])
    var selection = Selection()
    var letters = ""
    for _ in 0..<3 { letters.append(TestPool.letter(try pool.next(&selection))) }
    #expect(letters == "aba")
  }

  @Test(arguments: Strategy.allCases)
  func theReasonWhyNoMemberIsAvailableIsNamed(strategy: Strategy) throws {
    let empty = TestPool(strategy, weights: [])
    #expect(throws: Unavailability.noMembers) { _ = try empty.pick(client: .loopbackV4) }

    let down = TestPool(strategy, weights: [1, 1])
    down.check("a", up: false)
    down.record("b").adminState = .disabled
    #expect(throws: Unavailability.allDown) { _ = try down.pick(client: .loopbackV4) }

    let full = TestPool(strategy, [.init(limit: 1), .init(limit: 1), .init()])
    full.check("c", up: false)
    for _ in 0..<2 { _ = try full.pick(client: .loopbackV4) }
    #expect(throws: Unavailability.allFull) { _ = try full.pick(client: .loopbackV4) }
    #expect(Unavailability.allFull.status == 503)
  }

  @Test(arguments: Strategy.allCases)
  func failingOpenUsesEveryEnabledMemberWhenNoneIsHealthy(strategy: Strategy) throws {
    let pool = TestPool(strategy, weights: [1, 1, 1], allDown: .failOpen)
    pool.check("a", up: false)
    #expect(Set(try pool.places(clients(40))) == ["b", "c"])
    pool.check("b", up: false)
    pool.check("c", up: false)
    pool.record("c").adminState = .disabled
    #expect(Set(try pool.places(clients(40))) == ["a", "b"])
    // A retry goes to another member in this case too.
    var selection = Selection()
    let first = try pool.next(&selection, client: .loopbackV4)
    let second = try pool.next(&selection, client: .loopbackV4)
    #expect(first.index != second.index)
  }

  @Test func aRetryWaitsForAFullMemberRatherThanGoToTheOneThatFailed() throws {
    for queueMax in [0, 9] {
      let pool = TestPool(.roundRobin, [.init(), .init(limit: 1)], queueMax: queueMax)
      var held = HeldPicks()
      for _ in 0..<2 { held.hold(try pool.pick()) }
      var selection = Selection()
      #expect(TestPool.letter(try pool.next(&selection)) == "a")
      if queueMax == 0 {
        #expect(TestPool.letter(try pool.next(&selection)) == "a")
      } else {
        #expect(throws: Unavailability.allFull) { _ = try pool.next(&selection) }
        pool.check("b", up: false)
        // Now there is no member worth waiting for.
        #expect(TestPool.letter(try pool.next(&selection)) == "a")
      }
      held.releaseAll()
    }
  }

  @Test(arguments: Strategy.allCases, [AllDownPolicy.refuse, .failOpen])
  func aMemberThatWasSpentIsNotPickedAgain(strategy: Strategy, allDown: AllDownPolicy) throws {
    let pool = TestPool(strategy, weights: [1, 1], allDown: allDown)
    var selection = Selection()
    func nextLetter() throws -> Character {
      let pick = try pool.next(&selection, client: .loopbackV4)
      let letter = TestPool.letter(pick)
      pick.release()
      return letter
    }
    let first = try nextLetter()
    let id = pool.record(first).id
    #expect(selection.hasOther(than: id, in: &pool.view, at: pool.now))
    selection.spend(id)
    let other: Character = first == "a" ? "b" : "a"
    for _ in 0..<4 { #expect(try nextLetter() == other) }
    pool.record(other).adminState = .draining
    #expect(!selection.hasOther(than: id, in: &pool.view, at: pool.now))
    #expect(throws: Unavailability.allDown) {
      _ = try pool.next(&selection, client: .loopbackV4)
    }
  }

  @Test func aFullMemberIsAnotherOnlyWhereExchangesWait() throws {
    for queueMax in [0, 9] {
      let pool = TestPool(.roundRobin, [.init(), .init(limit: 1)], queueMax: queueMax)
      _ = pool.record("b").tryReserve(limit: 1)
      let id = pool.record("a").id
      #expect(Selection().hasOther(than: id, in: &pool.view, at: pool.now) == (queueMax > 0))
    }
  }

  @Test func aPoolFailsOpenOnlyIfNoMemberIsHealthyAndNotIfAllAreFull() throws {
    let pool = TestPool(.roundRobin, [.init(limit: 1), .init()], allDown: .failOpen)
    pool.check("b", up: false)
    let held = try pool.pick()
    #expect(held.isFailOpen == false)
    #expect(throws: Unavailability.allFull) { _ = try pool.pick() }
    pool.check("a", up: false)
    #expect(try pool.pick().isFailOpen)
    held.release()
  }

  @Test(arguments: Strategy.allCases)
  func maxConnectionsHoldsUnderContention(strategy: Strategy) {
    let limits = [1, 2, 3]
    let pool = TestPool(strategy, limits.map { TestPool.Shape(limit: $0) }).pool
    let records = pool.membership.members.map(\.record)
    let exceeded = Atomic<Int>(0)
    let served = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      var view = PoolView(pool)
      var generator = RandomGenerator(seed: UInt64(thread))
      var held = HeldPicks()
      for _ in 0..<2_000 {
        var selection = Selection()
        let client = IPAddress(v4: UInt32(truncatingIfNeeded: generator.next()))
        if let pick = try? selection.next(
          in: &view, client: client, at: .origin, generator: &generator)
        {
          served.wrappingAdd(1, ordering: .relaxed)
          if pick.record.activeCount > limits[pick.index] {
            exceeded.wrappingAdd(1, ordering: .relaxed)
          }
          held.hold(pick)
        }
        if held.count > generator.next(below: 3) { held.releaseFirst() }
      }
      held.releaseAll()
    }
    #expect(exceeded.load(ordering: .relaxed) == 0)
    #expect(served.load(ordering: .relaxed) > 1_000)
    #expect(records.map(\.activeCount) == [0, 0, 0])
  }

  @Test func aPickReservesASlotAndReleaseFreesIt() throws {
    let pool = TestPool(.roundRobin, weights: [1])
    let pick = try pool.pick()
    #expect(pool.record("a").activeCount == 1 && pool.view.activeCount == 1)
    pick.release()
    #expect(pool.record("a").activeCount == 0)
  }

  @Test func aFullMemberMissesItsTrialWithoutLosingIt() throws {
    let pool = TestPool(.roundRobin, [.init(), .init(limit: 1)])
    _ = pool.record("b").tryReserve(limit: 1)
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    #expect(try pool.picks(3) == "aaa")
    pool.record("b").release()
    #expect(try pool.pick().isTrial)
  }

  @Test func aTrialIsNotGivenToAnExchangeThatTriedTheMember() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    var selection = Selection()
    try pool.next(&selection).release()
    pool.fail("a", times: 5)
    pool.now = pool.now + .seconds(10)
    let retry = try pool.next(&selection)
    #expect(TestPool.letter(retry) == "b" && !retry.isTrial)
  }

  @Test func aPoolOfTenThousandIsPickedFromEvenly() throws {
    let pool = TestPool(.roundRobin, weights: [Int](repeating: 1, count: 10_000))
    var counts = [Int](repeating: 0, count: 10_000)
    for _ in 0..<20_000 {
      let pick = try pool.pick()
      counts[pick.index] += 1
      pick.release()
    }
    #expect(counts.allSatisfy { $0 == 2 })
  }
}
