// Slow start: the share of a member that comes back grows in ten steps, relative to the members
// that stayed.

import Primitives
import Testing

@testable import Balancing

@Suite struct SlowStartTests {
  private func pool(
    _ strategy: Strategy = .roundRobin, weights: [Int] = [1, 1], health: HealthPolicy = .init()
  ) -> TestPool {
    TestPool(
      strategy, weights.map { TestPool.Shape(weight: $0) }, health: health,
      slowStart: .seconds(100))
  }

  private func shares(_ pool: TestPool, _ count: Int) throws -> [Int] {
    let tally = tally(try pool.picks(count))
    return pool.pool.membership.members.indices.map {
      tally[Character(Unicode.Scalar(UInt8(97 + $0))), default: 0]
    }
  }

  private func bounce(_ letter: Character, _ pool: TestPool) {
    pool.check(letter, up: false)
    pool.check(letter, up: true)
  }

  @Test(arguments: [Strategy.roundRobin, .weightedRoundRobin])
  func aReturnedMemberGetsATenthMoreWithEachTenthOfTheTime(strategy: Strategy) throws {
    let pool = pool(strategy)
    #expect(try shares(pool, 20) == [10, 10])
    bounce("b", pool)
    for tenths in 1...10 {
      // Two full periods of 10 plus `tenths`.
      #expect(try shares(pool, 2 * (10 + tenths)) == [20, 2 * tenths])
      pool.now = pool.now + .seconds(10) + .milliseconds(-1)
      #expect(try shares(pool, 2 * (10 + tenths)) == [20, 2 * tenths], "the step is not over yet")
      pool.now = pool.now + .milliseconds(1)
    }
    #expect(try shares(pool, 20) == [10, 10])
    #expect(pool.view.rotation.nextStepAt == .never)
  }

  @Test func theShareIsOneOfTheWeight() throws {
    let pool = pool(.weightedRoundRobin, weights: [1, 5])
    bounce("b", pool)
    pool.now = pool.now + .seconds(45)
    // Five tenths of weight five, against weight one.
    #expect(try shares(pool, 70) == [20, 50])
  }

  @Test func anIdleReturnedMemberDoesNotDrawEveryRequestUnderLeastConnections() throws {
    let pool = pool(.leastConnections)
    bounce("b", pool)
    var held = HeldPicks()
    for _ in 0..<11 { held.hold(try pool.pick()) }
    // At one tenth of the weight, one exchange for ten of the other member.
    #expect(tally(held.letters) == ["a": 10, "b": 1])
    held.releaseAll()
  }

  @Test func aMemberThatWasEjectedReturnsSlowlyToo() throws {
    let pool = pool()
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    var trial = try pool.pick()
    pool.pool.observeExchange(&trial, succeeded: true, at: pool.now)
    trial.release()
    #expect(try shares(pool, 22) == [20, 2])
  }

  @Test func slowStartDoesNotApplyAtProcessStart() throws {
    var health = HealthPolicy()
    health.initial = .down
    let pool = pool(health: health)
    pool.check("a", up: true)
    // Long after the other one, so that it would be the only one in slow start.
    pool.now = pool.now + .seconds(200)
    pool.check("b", up: true)
    #expect(try shares(pool, 20) == [10, 10])
  }

  @Test func thereIsNoSlowStartIfAllHaveJustReturnedOrThereIsOnlyOne() throws {
    let pool = pool()
    pool.check("a", up: false)
    pool.check("b", up: false)
    pool.check("b", up: true)
    pool.now = pool.now + .seconds(25)
    #expect(try shares(pool, 5) == [0, 5])
    pool.check("a", up: true)
    #expect(try shares(pool, 20) == [10, 10])
  }

  @Test func theRotationIsRebuiltAtMostTenTimes() throws {
    let pool = pool()
    bounce("b", pool)
    var seen = 0
    var last = pool.view.rotation
    for _ in 0..<2_000 {
      _ = try pool.picks(1)
      if pool.view.rotation !== last { seen += 1 }
      last = pool.view.rotation
      pool.now = pool.now + .milliseconds(100)
    }
    // The health changes, then the end of each step.
    #expect(seen == 11)
  }

  @Test func aReloadInTheMiddleGoesOnWithTheRamp() throws {
    let pool = pool()
    bounce("b", pool)
    pool.now = pool.now + .seconds(45)
    let next = TestPool(
      .roundRobin, [.init(), .init()], registry: pool.registry, slowStart: .seconds(100))
    next.now = pool.now
    #expect(try shares(next, 30) == [20, 10])
  }

  @Test func ipHashKeepsItsClients() throws {
    let pool = pool(.ipHash)
    let before = try pool.places(clients(40))
    bounce("b", pool)
    #expect(try pool.places(clients(40)) == before)
  }
}
