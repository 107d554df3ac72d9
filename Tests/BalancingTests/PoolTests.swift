// Pool: health changes reach every view, the last member stays, and records outlive pools.

import Foundation
import Primitives
import Synchronization
import Testing

@testable import Balancing

@Suite struct PoolTests {
  @Test func fiveFailuresInARowEjectAMember() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    #expect(pool.fail("b", times: 4) == [])
    #expect(pool.fail("b") == [.ejected(until: pool.now + .seconds(10), inRow: 1)])
    #expect(tally(try pool.picks(20)) == ["a": 10, "c": 10])
    #expect(pool.record("b").ejectionCount == 1 && pool.record("b").failureCount == 5)
    #expect(pool.record("b").changedAt == pool.now)
  }

  @Test func aSuccessBetweenFailuresStartsTheRowOver() throws {
    var health = HealthPolicy()
    health.failurePercent = nil
    let pool = TestPool(.roundRobin, weights: [1, 1], health: health)
    for _ in 0..<5 {
      pool.fail("a", times: 4)
      var pick = Pick(index: 0, member: pool.member("a"), isTrial: false)
      let flip = pool.pool.observeExchange(&pick, succeeded: true, at: pool.now)
      #expect(flip == nil)
    }
    #expect(pool.record("a").standing(at: pool.now) == .available)
  }

  @Test func theLastAvailableMemberIsNeverEjected() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    pool.check("a", up: false)
    pool.fail("b", times: 5)
    #expect(pool.fail("c", times: 50) == [])
    #expect(try pool.picks(3) == "ccc")
    // When another member is back, the next consecutive failures eject.
    pool.check("a", up: true)
    #expect(pool.fail("c", times: 5).count == 1)
    #expect(try pool.picks(3) == "aaa")
  }

  @Test func aDrainingMemberIsNoReasonToEjectTheOther() {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    pool.record("a").adminState = .draining
    #expect(pool.fail("b", times: 20) == [])
    let alone = TestPool(.roundRobin, weights: [1])
    #expect(alone.fail("a", times: 20) == [])
  }

  /// Both members are one failure away from an ejection, and two threads report it at the same
  /// time.
  @Test func workersThatFailTheLastTwoMembersAtOnceLeaveOne() {
    let rounds = (0..<1_000).map { _ in
      let test = TestPool(.roundRobin, weights: [1, 1])
      test.fail("a", times: 4)
      test.fail("b", times: 4)
      return test.pool
    }
    let arrived = Atomic<Int>(0)
    @Sendable func failEach(_ index: Int) {
      for (round, pool) in rounds.enumerated() {
        let member = pool.membership.members[index]
        var pick = Pick(index: index, member: member, isTrial: false)
        arrived.wrappingAdd(1, ordering: .acquiringAndReleasing)
        while arrived.load(ordering: .acquiring) < 2 * (round + 1) {}
        pool.observeExchange(&pick, succeeded: false, at: .origin)
      }
    }
    let finished = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      failEach(1)
      finished.signal()
    }
    failEach(0)
    finished.wait()
    for pool in rounds {
      let available = pool.membership.members.filter {
        $0.record.standing(at: .origin) == .available
      }
      #expect(available.count == 1)
    }
  }

  @Test func afterItsEjectionAMemberGetsOneTrialAndNothingElse() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    var trial = try pool.pick()
    #expect(trial.isTrial && TestPool.letter(trial) == "b")
    #expect(tally(try pool.picks(20)) == ["a": 10, "c": 10])
    let flip = pool.pool.observeExchange(&trial, succeeded: true, at: pool.now)
    #expect(flip == .readmitted)
    trial.release()
    #expect(tally(try pool.picks(30)) == ["a": 10, "b": 10, "c": 10])
  }

  @Test func aFailedTrialEjectsForLonger() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    var trial = try pool.pick()
    let until = pool.now + .seconds(20)
    let flip = pool.pool.observeExchange(&trial, succeeded: false, at: pool.now)
    #expect(flip == .ejected(until: until, inRow: 2))
    trial.release()
    pool.now = until + .milliseconds(-1)
    #expect(!(try pool.picks(20)).contains("b"))
    pool.now = until
    #expect(try pool.pick().isTrial)
  }

  @Test func aTrialWithoutAVerdictPassesToTheNext() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    try pool.pick().release()
    let again = try pool.pick()
    #expect(again.isTrial && TestPool.letter(again) == "b")
  }

  @Test func oneOfManyThreadsGetsTheTrial() {
    let test = TestPool(.roundRobin, weights: [1, 1])
    test.fail("b", times: 5)
    let pool = test.pool
    let now = test.now + .seconds(10)
    let trials = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      var view = PoolView(pool)
      var generator = RandomGenerator(seed: UInt64(thread))
      for _ in 0..<500 {
        var selection = Selection()
        if let pick = try? selection.next(in: &view, client: nil, at: now, generator: &generator),
          pick.isTrial
        {
          trials.wrappingAdd(1, ordering: .relaxed)
        }
      }
    }
    #expect(trials.load(ordering: .relaxed) == 1)
  }

  @Test func aPickIsJudgedAsATrialOnce() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    var first = try pool.pick()
    pool.pool.observeExchange(&first, succeeded: false, at: pool.now)
    pool.now = pool.now + .seconds(20)
    let second = try pool.pick()
    #expect(second.isTrial == true)
    // The end of the first must not give the trial of the second to a third.
    first.release()
    #expect(pool.record("b").standing(at: pool.now) == .beingTried)
    second.release()
  }

  @Test func drainingAndDisabledMembersGetNoNewExchanges() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    for state in [AdminState.draining, .disabled] {
      pool.record("a").adminState = state
      #expect(try pool.picks(4) == "bbbb")
      pool.record("a").adminState = .enabled
      #expect(tally(try pool.picks(4)) == ["a": 2, "b": 2])
    }
    pool.record("a").weightOverride = 7
    pool.record("a").adminState = .draining
    #expect(pool.record("a").weightOverride == 7 && pool.record("a").adminState == .draining)
    pool.record("a").weightOverride = 1_000
    #expect(pool.record("a").weightOverride == 256 && pool.record("a").adminState == .draining)
  }

  @Test func aFlipReachesTheViewsOfAllWorkers() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    let views = (0..<3).map { _ in PoolView(pool.pool) }
    pool.check("a", up: false)
    for view in views {
      pool.view = view
      #expect(try pool.picks(2) == "bb")
      #expect(pool.view.rotation.first.eligible.count == 1)
    }
  }

  @Test func aFlipSeenThroughTheOldPoolOfAReloadReachesTheNewOne() throws {
    let old = TestPool(.roundRobin, weights: [1, 1])
    let new = TestPool(.leastConnections, [.init(), .init(), .init()], registry: old.registry)
    #expect(new.pool.membership.members[1].record === old.record("b"))
    old.fail("b", times: 5)
    #expect(!(try new.picks(20)).contains("b"))
    old.now = old.now + .seconds(10)
    var trial = try old.pick()
    old.pool.observeExchange(&trial, succeeded: true, at: old.now)
    trial.release()
    #expect((try new.picks(20)).contains("b"))
  }

  @Test func recordsAreFoundAgainWithTheirStateAfterAChangeOfMembers() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    let held = try pool.pick()
    pool.record("b").adminState = .draining
    pool.fail("c", times: 5)
    pool.pool.publish(TestPool.members([.init()], registry: pool.registry))
    #expect(try pool.picks(2) == "aa")
    pool.pool.publish(TestPool.members([.init(), .init(), .init()], registry: pool.registry))
    #expect(pool.record("a").activeCount == 1 && pool.record("b").adminState == .draining)
    #expect(pool.record("c").standing(at: pool.now) == .ejected(until: pool.now + .seconds(10)))
    #expect(try pool.picks(2) == "aa")
    held.release()
    #expect(pool.record("a").activeCount == 0)
  }
}

@Suite struct BackendRegistryTests {
  @Test func aBackendIsKnownByPoolAndAddress() {
    let registry = BackendRegistry()
    let one = registry.backend(pool: "app", address: "10.0.0.1:80")
    let other = registry.backend(pool: "api", address: "10.0.0.1:80")
    #expect(one !== other && one === registry.backend(pool: "app", address: "10.0.0.1:80"))
    #expect([one.id, other.id] == [0, 1] && registry.idCount == 2)
    #expect(registry.pool("app") === registry.pool("app"))
    #expect(registry.pool("app") !== registry.pool("api"))
  }

  @Test func theInitialHealthCountsOnlyForANewBackend() {
    var down = HealthPolicy()
    down.initial = .down
    let registry = BackendRegistry()
    let record = registry.backend(pool: "app", address: "a", health: down)
    #expect(record.standing(at: .origin) == .down)
    record.forgetChecks()
    _ = registry.backend(pool: "app", address: "a", health: down)
    #expect(record.standing(at: .origin) == .available)
  }
}
