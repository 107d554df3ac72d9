// The last two minutes of a backend: runs of conditions, and rates.

import Balancing
import Metrics
import Primitives
import Testing

@testable import Server

@Suite struct BackendHistoryTests {
  @Test func `seconds in the same condition are one run, and no more than two minutes are kept`() {
    var history = BackendHistory()
    for _ in 0..<100 { history.sample(.up) }
    for _ in 0..<30 { history.sample(.down) }
    #expect(history.runs.map(\.condition) == [.up, .down])
    #expect(history.runs.map(\.seconds) == [90, 30])
    for _ in 0..<95 { history.sample(.trial) }
    #expect(history.runs.map(\.condition) == [.down, .trial])
    #expect(history.runs.map(\.seconds) == [25, 95])
  }

  @Test func `rates are taken over the last second and the last ten`() throws {
    let block = try #require(MetricsRegistry(workerCount: 1).blocks(for: .pool("p")).first)
    var history = BackendHistory()
    #expect(history.recent == nil && !history.isSampled)
    for second in 0..<20 {
      block.add(.attempts, second < 19 ? 2 : 12)
      history.sample(TrafficReading(of: [block]))
    }
    #expect(history.lastSecond?.attempts == 12)
    let recent = try #require(history.recent)
    #expect(recent.seconds == 10 && recent.traffic.attempts == 30)
  }

  @Test func `a pool is failing while at least 95 percent of its attempts fail, of at least five`()
    throws
  {
    let block = try #require(MetricsRegistry(workerCount: 1).blocks(for: .pool("p")).first)
    var backends = ["a": BackendHistory()]
    func sample(good: UInt64, bad: UInt64) -> Bool {
      block.add(.responses2xx, good)
      block.add(.responses5xx, bad)
      backends["a"]?.sample(TrafficReading(of: [block]))
      return backends.values.isFailing(countsResponses: true)
    }
    #expect(!sample(good: 0, bad: 0))
    #expect(!sample(good: 0, bad: 4))
    #expect(sample(good: 0, bad: 1))
    #expect(sample(good: 1, bad: 20))
    #expect(!sample(good: 1, bad: 1))
    #expect(sample(good: 0, bad: 30))
    // After two seconds they no longer count.
    #expect(sample(good: 0, bad: 0))
    #expect(!sample(good: 0, bad: 0))
  }

  /// Open connections have no result yet, and many programs end theirs with a reset.
  @Test func `a pool of connections is failing while attempts to connect fail`() throws {
    let block = try #require(MetricsRegistry(workerCount: 1).blocks(for: .pool("p")).first)
    var backends = ["a": BackendHistory()]
    func sample(attempts: UInt64, refused: Int = 0, reset: Int = 0) -> Bool {
      block.add(.attempts, attempts)
      for _ in 0..<refused {
        block.add(failure: FailureWord.connectRefused.rawValue, at: .origin)
      }
      for _ in 0..<reset { block.add(failure: FailureWord.relayReset.rawValue, at: .origin) }
      backends["a"]?.sample(TrafficReading(of: [block]))
      return backends.values.isFailing(countsResponses: false)
    }
    #expect(!sample(attempts: 0))
    #expect(!sample(attempts: 30, refused: 1, reset: 29))
    #expect(!sample(attempts: 20, refused: 10))
    #expect(!sample(attempts: 0))
    #expect(!sample(attempts: 0))
    #expect(sample(attempts: 20, refused: 20))
  }
}
