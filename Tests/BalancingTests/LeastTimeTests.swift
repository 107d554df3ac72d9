// least-time: the estimate of a backend's response time, and how members are chosen by it.

import Primitives
import Testing

@testable import Balancing

@Suite struct LeastTimeTests {
  private let now = Instant.origin + .seconds(1_000)

  // MARK: The estimate

  /// In milliseconds.
  private func time(_ estimate: LatencyEstimate, after span: TimeSpan = .zero) -> Int? {
    estimate.time(at: now + span).map { Int($0 << 10) / 1_000_000 }
  }

  @Test func aSlowerResponseCountsAtOnceAndAFasterOneSlowly() {
    var estimate = LatencyEstimate(word: 0)
    #expect(time(estimate) == nil)
    let isFirst = estimate.observe(.milliseconds(10), at: now)
    #expect(isFirst)
    #expect(time(estimate) == 9 || time(estimate) == 10)
    _ = estimate.observe(.milliseconds(500), at: now)
    #expect(abs(time(estimate)! - 500) <= 1)
    // Within a tick nothing changes, and after a half-life half of the difference is left.
    let changed = estimate.observe(.milliseconds(100), at: now)
    #expect(!changed)
    _ = estimate.observe(.milliseconds(100), at: now + .seconds(7))
    #expect(abs(time(estimate, after: .seconds(7))! - 300) <= 5)
  }

  @Test func manyFastResponsesBringTheEstimateDownAndItStaysThere() {
    var estimate = LatencyEstimate(word: 0)
    _ = estimate.observe(.seconds(2), at: now)
    var at = now
    for _ in 0..<10_000 {
      at = at + .milliseconds(10)
      _ = estimate.observe(.milliseconds(20), at: at)
    }
    let milliseconds = Int(estimate.time(at: at)! << 10) / 1_000_000
    #expect((19...21).contains(milliseconds))
  }

  @Test func withoutResponsesItHalvesInSevenSeconds() {
    var estimate = LatencyEstimate(word: 0)
    _ = estimate.observe(.milliseconds(800), at: now)
    #expect(abs(time(estimate, after: .seconds(7))! - 400) <= 8)
    #expect(abs(time(estimate, after: .seconds(21))! - 100) <= 4)
    // It never says that it was never measured.
    #expect(estimate.time(at: now + .seconds(3_600)) == 1)
  }

  @Test func aClockThatIsBehindChangesNothing() {
    var estimate = LatencyEstimate(word: 0)
    _ = estimate.observe(.milliseconds(100), at: now)
    #expect(estimate.time(at: Instant.origin + .seconds(995)) == estimate.time(at: now))
    let changed = estimate.observe(.milliseconds(50), at: Instant.origin + .seconds(995))
    #expect(!changed)
  }

  @Test func aFailureCountsAsSlow() {
    var estimate = LatencyEstimate(word: 0)
    #expect(estimate.slowness(.milliseconds(1)) == .seconds(1))
    #expect(estimate.slowness(.seconds(30)) == .seconds(30))
    _ = estimate.observe(.seconds(3), at: now)
    #expect(estimate.slowness(.milliseconds(1)) == .seconds(6))
    _ = estimate.observe(.seconds(9), at: now)
    #expect(estimate.slowness(.milliseconds(1)) == .seconds(10))
  }

  @Test func timesBeyondTheLargestAreTheLargest() {
    var estimate = LatencyEstimate(word: 0)
    _ = estimate.observe(.seconds(1_000), at: now)
    #expect(estimate.time(at: now) == LatencyEstimate.timeMax)
    _ = estimate.observe(.seconds(-1), at: now + .seconds(7))
    #expect(estimate.time(at: now + .seconds(7))! < LatencyEstimate.timeMax)
  }

  // MARK: Selection

  private func observe(
    _ pool: TestPool, _ letter: Character, _ milliseconds: Int64, failed: Bool = false
  ) {
    pool.pool.observeTime(
      .milliseconds(milliseconds), of: pool.record(letter), failed: failed, at: pool.now)
  }

  @Test func theFasterOfTwoIsUsedUntilItsQueueIsLonger() throws {
    let pool = TestPool(.leastTime, weights: [1, 1])
    observe(pool, "a", 100)
    observe(pool, "b", 20)
    var held = HeldPicks()
    for _ in 0..<6 { held.hold(try pool.pick()) }
    // Five on b cost as much as one on a.
    #expect(tally(held.letters)["a", default: 0] <= 1)
    #expect(tally(held.letters)["b", default: 0] >= 5)
    held.releaseAll()
  }

  @Test func aMemberOfTwiceTheWeightMayTakeTwiceTheTime() throws {
    let pool = TestPool(.leastTime, weights: [2, 1])
    observe(pool, "a", 190)
    observe(pool, "b", 100)
    // Two places of three are those of a; every pair but (a, a) has b.
    #expect(try pool.picks(50) == String(repeating: "a", count: 50))
    observe(pool, "a", 230)
    #expect(tally(try pool.picks(300))["b", default: 0] > 150)
  }

  @Test func aMemberWithoutSamplesGetsOneExchangeAtATime() throws {
    let pool = TestPool(.leastTime, weights: [1, 1])
    observe(pool, "a", 10)
    var held = HeldPicks()
    for _ in 0..<10 { held.hold(try pool.pick()) }
    #expect(tally(held.letters) == ["a": 9, "b": 1])
    held.releaseAll()
    // When it has responded, it is one like the others.
    observe(pool, "b", 10)
    for _ in 0..<10 { held.hold(try pool.pick()) }
    #expect(tally(held.letters) == ["a": 5, "b": 5])
    held.releaseAll()
  }

  @Test func aMemberThatFailsFastGetsLittle() throws {
    let pool = TestPool(.leastTime, weights: [1, 1, 1])
    observe(pool, "a", 1, failed: true)
    observe(pool, "b", 50)
    observe(pool, "c", 60)
    #expect(tally(try pool.picks(300))["a"] == nil)
    // Some time later it is tried again.
    pool.now = pool.now + .seconds(60)
    observe(pool, "b", 50)
    observe(pool, "c", 60)
    #expect(tally(try pool.picks(300))["a", default: 0] > 50)
  }

  @Test func otherStrategiesMeasureNothing() throws {
    let pool = TestPool(.roundRobin, weights: [1])
    observe(pool, "a", 10)
    #expect(pool.record("a").latency(at: pool.now) == nil)
  }

  @Test func afterARestartAllGetTheirTurn() throws {
    let pool = TestPool(.leastTime, weights: [1, 1, 1, 1])
    let counts = tally(try pool.picks(400))
    for count in counts.values { #expect(abs(count - 100) < 40) }
  }
}
