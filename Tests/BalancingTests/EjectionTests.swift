// Which failing members are ejected, in pools of two to five.

import Primitives
import Testing

@testable import Balancing

@Suite struct EjectionTests {
  /// Exchanges on a member: in each of `rounds`, `succeed` of them succeed, then `fail` of them
  /// fail.
  @discardableResult
  private func mix(
    _ pool: TestPool, _ letter: Character, succeed: Int, fail: Int, rounds: Int
  ) -> [Flip] {
    var flips: [Flip] = []
    for _ in 0..<rounds {
      pool.succeed(letter, times: succeed)
      flips += pool.fail(letter, times: fail)
    }
    return flips
  }

  @Test func aMemberThatFailsEveryOtherExchangeIsEjectedThoughNeverFiveInARow() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    pool.succeed("a", times: 20)
    // The first failure only begins the window, so one more is needed.
    #expect(mix(pool, "b", succeed: 1, fail: 1, rounds: 10).isEmpty)
    #expect(mix(pool, "b", succeed: 1, fail: 1, rounds: 2).count == 1)
    #expect(try pool.picks(3) == "aaa")
  }

  @Test func aFewFailuresInMuchTrafficEjectNoMember() {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    #expect(mix(pool, "b", succeed: 2, fail: 1, rounds: 200).isEmpty)
  }

  @Test func fewExchangesAreNoMeasureOfAFailureRate() {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    #expect(mix(pool, "b", succeed: 1, fail: 1, rounds: 9).isEmpty)
    // Failures from before the window don't count.
    pool.now = pool.now + .seconds(11)
    #expect(mix(pool, "b", succeed: 1, fail: 1, rounds: 9).isEmpty)
  }

  @Test func ifAllFailAlikeThereIsNoOutlier() {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1])
    var flips: [Flip] = []
    for _ in 0..<100 {
      for letter in "abc" { flips += mix(pool, letter, succeed: 1, fail: 1, rounds: 1) }
    }
    #expect(flips.isEmpty)
  }

  @Test func theShareCanBeTurnedOff() {
    var health = HealthPolicy()
    health.failurePercent = nil
    let pool = TestPool(.roundRobin, weights: [1, 1], health: health)
    #expect(mix(pool, "b", succeed: 1, fail: 1, rounds: 200).isEmpty)
  }

  @Test func aMemberThatPassesItsTrialBeginsANewWindow() throws {
    var health = HealthPolicy()
    health.failureWindow = .seconds(1_000)
    let pool = TestPool(.roundRobin, weights: [1, 1], health: health)
    pool.succeed("a", times: 20)
    #expect(mix(pool, "b", succeed: 1, fail: 1, rounds: 12).count == 1)
    pool.now = pool.now + .seconds(10)
    var trial = try pool.pick()
    pool.pool.observeExchange(&trial, succeeded: true, at: pool.now)
    trial.release()
    #expect(pool.fail("b").isEmpty)
    #expect(pool.record("b").standing(at: pool.now) == .available)
  }

  @Test(arguments: [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (10, 5)])
  func atMostHalfOfThemRoundedUpAreEjectedAtOnce(count: Int, ejected: Int) {
    let pool = TestPool(.roundRobin, weights: [Int](repeating: 1, count: count))
    let letters = (0..<count).map { Character(Unicode.Scalar(UInt8(97 + $0))) }
    let flips = letters.flatMap { pool.fail($0, times: 20) }
    #expect(flips.count == ejected)
    #expect(pool.pool.membership.ejectedCount == ejected)
  }

  @Test func withAHundredPercentOnlyTheLastOneStays() {
    var health = HealthPolicy()
    health.ejectedPercentMax = 100
    let pool = TestPool(.roundRobin, weights: [1, 1, 1, 1, 1], health: health)
    #expect("abcde".flatMap { pool.fail($0, times: 20) }.count == 4)
  }

  @Test func aFailedTrialEjectsAgainDespiteTheLimitOfEjectedMembers() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1, 1, 1])
    pool.fail("a", times: 5)
    pool.fail("b", times: 5)
    pool.now = pool.now + .seconds(10)
    var trial = try pool.pick()
    let flip = pool.pool.observeExchange(&trial, succeeded: false, at: pool.now)
    #expect(flip == .ejected(until: pool.now + .seconds(20), inRow: 2))
    trial.release()
  }
}
