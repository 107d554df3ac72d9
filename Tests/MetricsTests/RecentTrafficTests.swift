// What was counted between two readings, and the quantiles that are estimated from buckets.

import Primitives
import Testing

@testable import Metrics

@Suite("Recent traffic")
struct RecentTrafficTests {
  private let block = TrafficMetrics(of: .backend(pool: "app", address: "10.0.0.1:80"))

  private func reading() -> TrafficReading { TrafficReading(of: [block]) }

  @Test("only what came after the earlier reading counts")
  func difference() {
    block.add(.attempts, 5)
    block.add(.responses5xx)
    block.durations.add(.seconds(3))
    let before = reading()
    block.add(.attempts, 3)
    block.add(.responses2xx, 2)
    block.add(failure: 4, at: .origin)
    let recent = RecentTraffic(reading(), since: before)
    #expect(recent.attempts == 3)
    #expect(recent.failures == 1)
    #expect(recent.responses == [0, 2, 0, 0, 0])
    // The three seconds are not part of that time.
    #expect(recent.quantile(0.5) == nil)
  }

  @Test("a quantile lies within the bucket that holds it, in proportion")
  func quantiles() throws {
    let before = reading()
    for _ in 0..<50 { block.durations.add(.microseconds(300)) }
    for _ in 0..<50 { block.durations.add(.milliseconds(4)) }
    let recent = RecentTraffic(reading(), since: before)
    // The lower half is between 250 and 500 microseconds, the upper half between 2.5 and 5 ms.
    #expect(recent.quantile(0.5) == 500)
    #expect(recent.quantile(0.25) == 375)
    #expect(try #require(recent.quantile(0.99)) == 2500 + 2500 * 49 / 50)
  }

  @Test("what is longer than the last bound counts as that")
  func beyond() {
    let before = reading()
    block.durations.add(.seconds(90))
    #expect(RecentTraffic(reading(), since: before).quantile(0.5) == 60_000_000)
  }
}
