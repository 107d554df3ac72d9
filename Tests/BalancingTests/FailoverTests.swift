// Failover: tiers, zones, the shares of levels, and panic.

import Primitives
import Testing

@testable import Balancing

@Suite struct FailoverTests {
  private func policy(factor: Int? = nil, panic: Int? = nil, zone: String = "") -> FailoverPolicy {
    var policy = FailoverPolicy()
    policy.factor = factor
    policy.panicPercent = panic
    policy.zone = zone
    return policy
  }

  /// The shares in percent; nil if everything goes to the first level with a healthy member.
  private func shares(
    _ parts: [(tier: Int, healthy: Int, all: Int)], factor: Int? = 140
  ) -> [Int]? {
    LevelShares(
      parts.map { LevelShares.Part(tier: $0.tier, healthy: $0.healthy, all: $0.all) },
      policy(factor: factor))?.values.map { ($0 + 5_000) / 10_000 }
  }

  // MARK: Shares

  @Test func aLevelGetsEverythingWhileEnoughOfItIsHealthy() {
    #expect(shares([(0, 10, 10), (1, 5, 5)]) == nil)
    #expect(shares([(0, 72, 100), (1, 5, 5)]) == nil)
    #expect(shares([(0, 71, 100), (1, 5, 5)]) == [99, 1])
  }

  /// The examples of Envoy's documentation of priority levels.
  @Test(
    arguments: [
      ([50, 100], [70, 30]), ([25, 100], [35, 65]), ([0, 100], nil),
      ([25, 25], [50, 50]), ([25, 0], nil), ([5, 65], [7, 93]),
    ] as [([Int], [Int]?)])
  func theRestSpillsToTheNextLevel(healthy: [Int], expected: [Int]?) {
    let parts = healthy.enumerated().map { (tier: $0, healthy: $1, all: 100) }
    #expect(shares(parts) == expected)
  }

  @Test func threeLevelsShare() {
    #expect(shares([(0, 20, 100), (1, 20, 100), (2, 100, 100)]) == [28, 28, 44])
    #expect(shares([(0, 0, 100), (1, 20, 100), (2, 100, 100)]) == [0, 28, 72])
  }

  @Test func theFactorDecidesHowSoon() {
    #expect(shares([(0, 90, 100), (1, 1, 1)], factor: 100) == [90, 10])
    #expect(shares([(0, 34, 100), (1, 1, 1)], factor: 300) == nil)
    // Without a factor tiers don't share.
    #expect(shares([(0, 1, 100), (1, 1, 1)], factor: nil) == nil)
  }

  @Test func theNumberOfAKeySelectsItsLevelInTheRightProportion() throws {
    let shares = try #require(
      LevelShares(
        [.init(tier: 0, healthy: 50, all: 100), .init(tier: 1, healthy: 1, all: 1)],
        policy(factor: 140)))
    var counts = [0, 0]
    for key in 1...10_000 {
      counts[shares.level(of: LevelShares.number(for: UInt64(key)))] += 1
    }
    #expect(abs(counts[0] - 7_000) < 200)
    #expect(shares.level(of: 0) == 0 && shares.level(of: .max) == 1)
  }

  // MARK: Selection

  @Test(arguments: Strategy.allCases)
  func exchangesSpillByTheHealthOfTheTier(strategy: Strategy) throws {
    let pool = TestPool(
      strategy, [.init(), .init(), .init(tier: 1), .init(tier: 1)], failover: policy(factor: 140))
    #expect(Set(try pool.places(clients(200))) == ["a", "b"])
    pool.check("a", up: false)
    let counts = tally(try pool.places(clients(2_000)))
    #expect(counts["a"] == nil)
    #expect(abs(counts["b", default: 0] - 1_400) < 100)
    #expect(abs(counts["c", default: 0] - 300) < 80)
    pool.check("b", up: false)
    #expect(Set(try pool.places(clients(200))) == ["c", "d"])
    pool.check("a", up: true)
    pool.check("b", up: true)
    #expect(Set(try pool.places(clients(200))) == ["a", "b"])
  }

  @Test func aDrainedMemberIsMissingToo() throws {
    let pool = TestPool(
      .roundRobin, [.init(), .init(), .init(tier: 1)], failover: policy(factor: 140))
    pool.record("a").adminState = .draining
    #expect(abs(tally(try pool.picks(1_000))["c", default: 0] - 300) < 60)
  }

  @Test func keysOfAffinityLeaveATierOneAfterTheOther() throws {
    let shapes = (0..<6).map { TestPool.Shape(tier: $0 < 4 ? 0 : 1) }
    let pool = TestPool(.maglev, shapes, failover: policy(factor: 140))
    let many = clients(2_000)
    let before = try pool.places(many)
    pool.check("a", up: false)
    pool.check("b", up: false)
    let half = try pool.places(many)
    for (old, new) in zip(before, half) where "cd".contains(old) {
      // Those whose member is up stay with it, unless the whole tier gives them up.
      #expect(new == old || "ef".contains(new))
    }
    pool.check("c", up: false)
    let quarter = try pool.places(many)
    for (old, new) in zip(half, quarter) where "ef".contains(old) { #expect(new == old) }
    // Another node thinks the same.
    let other = TestPool(.maglev, shapes, failover: policy(factor: 140))
    other.generator = RandomGenerator(seed: 7)
    for letter in "abc" { other.check(letter, up: false) }
    #expect(try other.places(many) == quarter)
  }

  @Test func aFullLevelOverflowsToTheNext() throws {
    let pool = TestPool(
      .roundRobin, [.init(limit: 1), .init(tier: 2), .init(tier: 3)], failover: policy())
    var held = HeldPicks()
    for _ in 0..<3 { held.hold(try pool.pick()) }
    #expect(held.letters == "abb")
    held.releaseAll()
  }

  @Test(arguments: Strategy.allCases)
  func aTierWhoseMembersAreAllEjectedGetsItsTrials(strategy: Strategy) throws {
    let shapes: [TestPool.Shape] = [.init(), .init(), .init(tier: 1), .init(tier: 2)]
    let pool = TestPool(strategy, shapes, failover: policy(factor: 140))
    // The last one is half down, so that the others share.
    pool.fail("a", times: 5)
    pool.check("b", up: false)
    pool.now = pool.now + .seconds(11)
    var trials = 0
    for client in clients(400) {
      var pick = try pool.pick(client: client)
      if pick.isTrial {
        trials += 1
        pool.pool.observeExchange(&pick, succeeded: true, at: pool.now)
      }
      pick.release()
    }
    #expect(trials == 1)
    #expect(pool.record("a").standing(at: pool.now) == .available)
  }

  @Test func theMembersOfEachLevelTakeTurns() throws {
    let pool = TestPool(
      .roundRobin, [.init(limit: 1), .init(tier: 1), .init(tier: 1), .init(tier: 2)])
    let held = try pool.pick()
    let letters = try pool.picks(6)
    #expect(tally(letters) == ["b": 3, "c": 3])
    held.release()
  }

  // MARK: Zones

  @Test func theOwnZoneIsPreferredWhileEnoughOfItIsHealthy() throws {
    let shapes = ["x", "x", "y", "y", ""].map { TestPool.Shape(zone: $0) } + [.init(tier: 1)]
    let pool = TestPool(.random, shapes, failover: policy(zone: "x"))
    #expect(Set(try pool.picks(200)) == ["a", "b"])
    pool.check("a", up: false)
    let counts = tally(try pool.picks(2_000))
    #expect(abs(counts["b", default: 0] - 1_400) < 120)
    #expect(Set(counts.keys) == ["b", "c", "d", "e"])
    pool.check("b", up: false)
    #expect(Set(try pool.picks(200)) == ["c", "d", "e"])
    for letter in "cde" { pool.check(letter, up: false) }
    #expect(try pool.picks(3) == "fff")
    // In another zone it is the other way round, and without one there is no preference.
    let other = TestPool(.random, shapes, failover: policy(zone: "y"))
    #expect(Set(try other.picks(200)) == ["c", "d"])
    #expect(Set(try TestPool(.random, shapes).picks(200)) == ["a", "b", "c", "d", "e"])
  }

  // MARK: Panic

  @Test(arguments: Strategy.allCases)
  func belowThePanicThresholdHealthDoesNotCount(strategy: Strategy) throws {
    let pool = TestPool(
      strategy, Array(repeating: .init(), count: 4), failover: policy(panic: 50))
    pool.check("a", up: false)
    pool.check("b", up: false)
    #expect(Set(try pool.places(clients(100))) == ["c", "d"])
    #expect(!pool.pool.isPanicking)
    pool.check("c", up: false)
    #expect(Set(try pool.places(clients(100))) == ["a", "b", "c", "d"])
    #expect(pool.pool.isPanicking && pool.pool.levels(at: pool.now).isPanicking)
    var isFailOpen: [Character: Bool] = [:]
    for client in clients(60) {
      let pick = try pool.pick(client: client)
      isFailOpen[TestPool.letter(pick)] = pick.isFailOpen
      pick.release()
    }
    #expect(isFailOpen == ["a": true, "b": true, "c": true, "d": false])
    // A drained member stays out, and doesn't count.
    pool.record("a").adminState = .draining
    #expect(Set(try pool.places(clients(100))) == ["b", "c", "d"])
    pool.check("d", up: false)
    #expect(Set(try pool.places(clients(100))) == ["b", "c", "d"])
    pool.check("b", up: true)
    pool.check("c", up: true)
    #expect(Set(try pool.places(clients(100))) == ["b", "c"])
  }

  @Test func inAPanicAnEjectedMemberStillGetsItsTrial() throws {
    let pool = TestPool(
      .roundRobin, Array(repeating: .init(), count: 3), failover: policy(panic: 70))
    pool.fail("a", times: 5)
    #expect(pool.pool.isPanicking)
    pool.now = pool.now + .seconds(11)
    var pick = try pool.pick()
    #expect(pick.isTrial && TestPool.letter(pick) == "a")
    pool.pool.observeExchange(&pick, succeeded: true, at: pool.now)
    pick.release()
    #expect(!pool.pool.isPanicking)
  }

  @Test(arguments: Strategy.allCases)
  func inAPanicARetryPrefersAHealthyMember(strategy: Strategy) throws {
    let pool = TestPool(
      strategy, Array(repeating: .init(), count: 6) + [.init(tier: 1)], failover: policy(panic: 50))
    for letter in "abcde" { pool.check(letter, up: false) }
    for client in clients(100) {
      var selection = Selection()
      let first = try pool.next(&selection, client: client)
      let second = try pool.next(&selection, client: client)
      let letters = [TestPool.letter(first), TestPool.letter(second)]
      #expect(letters[1] == "f" || letters[0] == "f" && letters[1] == "g", "\(letters)")
      let isFailOpen = second.isFailOpen
      #expect(!isFailOpen)
      first.release()
      // With the healthy ones tried, others are better than none.
      let third = try pool.next(&selection, client: client)
      #expect(TestPool.letter(third) != letters[0] && TestPool.letter(third) != letters[1])
      second.release()
      third.release()
    }
  }

  @Test func theBeginAndTheEndOfAPanicAreNotedOnce() {
    let pool = TestPool(.roundRobin, [.init(), .init(), .init()], failover: policy(panic: 50))
    #expect(pool.pool.notePanic() == nil)
    pool.check("a", up: false)
    pool.check("b", up: false)
    #expect(pool.pool.notePanic() == true && pool.pool.notePanic() == nil)
    pool.check("a", up: true)
    #expect(pool.pool.notePanic() == false && pool.pool.notePanic() == nil)
  }

  // MARK: For operators

  @Test func theLevelsAreShown() throws {
    let shapes: [TestPool.Shape] = [
      .init(zone: "x"), .init(zone: "x"), .init(zone: "y"), .init(tier: 1),
    ]
    let pool = TestPool(.random, shapes, failover: policy(factor: 140, zone: "x"))
    pool.check("a", up: false)
    let states = pool.pool.levels(at: pool.now).states
    #expect(states.map(\.tier) == [0, 0, 1])
    #expect(states.map(\.isNear) == [true, false, nil])
    #expect(states.map(\.healthyCount) == [1, 1, 1] && states.map(\.count) == [2, 1, 1])
    #expect(states.map(\.share) == [0.7, 0.3, 0])
    pool.check("b", up: false)
    #expect(pool.pool.levels(at: pool.now).states.map(\.share) == [0, 1, 0])
  }
}
