// Traffic by listener, route, pool and backend: found by name, summed over workers, with labels.

import Primitives
import Testing

@testable import Metrics

@Suite struct TrafficMetricsTests {
  @Test func aSubjectKeepsItsBlocks() {
    let registry = MetricsRegistry(workerCount: 2)
    let blocks = registry.blocks(for: .pool("app"))
    blocks[1].add(.responses2xx, 3)
    registry.blocks(for: .pool("app"))[0].add(.responses2xx)
    #expect(TrafficReading(of: registry.blocks(for: .pool("app")))[.responses2xx] == 4)
    #expect(TrafficReading(of: registry.blocks(for: .listener("app")))[.responses2xx] == 0)
    #expect(blocks.count == 2 && blocks[0].fine != nil)
    #expect(registry.blocks(for: .listener("app"))[0].fine == nil)
  }

  @Test func whatIsConfiguredNoMoreIsForgotten() {
    let registry = MetricsRegistry(workerCount: 1, formerMax: 2)
    let backends = (0..<2).map { MetricsSubject.backend(pool: "p", address: "\($0)") }
    let subjects: [MetricsSubject] =
      [.pool("p"), .listener("p"), .route("/", listener: "p")] + backends
    for subject in subjects { registry.blocks(for: subject)[0].add(.responses2xx) }
    // What comes back soon goes on counting.
    registry.keep([.pool("p")])
    #expect(TrafficReading(of: registry.blocks(for: subjects[1]))[.responses2xx] == 1)
    registry.keep(Set(subjects))
    registry.keep([.pool("p")])
    for name in ["a", "b"] {
      _ = registry.blocks(for: .pool(name))
      registry.keep([.pool("p")])
    }
    registry.keep(backends: [backends[1]])
    #expect(Set(registry.all.keys) == [.pool("p"), .pool("a"), .pool("b"), backends[1]])
    #expect(TrafficReading(of: registry.blocks(for: subjects[1]))[.responses2xx] == 0)
    #expect(TrafficReading(of: registry.blocks(for: subjects[0]))[.responses2xx] == 1)
  }

  @Test(arguments: [
    (UInt16(100), TrafficCounter.responses1xx), (204, .responses2xx), (304, .responses3xx),
    (404, .responses4xx), (499, .aborted), (500, .responses5xx), (0, .aborted),
  ])
  func anAnswerIsCountedByItsClass(status: UInt16, counter: TrafficCounter) {
    #expect(TrafficCounter(status: status) == counter)
  }

  @Test func theLastFailureIsTheNewestOfAllWorkers() {
    let blocks = MetricsRegistry(workerCount: 2).blocks(for: .backend(pool: "p", address: "a"))
    #expect(TrafficReading(of: blocks).lastFailure == nil)
    blocks[1].add(failure: 3, at: .origin + .seconds(5))
    blocks[0].add(failure: 0, at: .origin + .seconds(3))
    let reading = TrafficReading(of: blocks)
    #expect(reading.lastFailure?.place == 3)
    #expect(reading.failureCount(CounterWord(0, "a")) == 1)
    #expect(reading.lastFailure?.at == .origin + .seconds(5))
    #expect(reading.failureCount == 2)
  }

  @Test func aHistogramIsCumulativeAndEndsWithItsCount() {
    let block = MetricsRegistry(workerCount: 1).blocks(for: .listener("l"))[0]
    for duration in [TimeSpan.microseconds(90), .microseconds(400), .seconds(100)] {
      block.durations.add(duration)
    }
    var writer = FamilyWriter(.text)
    writer.durations("d_seconds", "Time.", of: [([("l", "x")], TrafficReading(of: [block]))])
    let lines = String(decoding: writer.finish(), as: UTF8.self).split(separator: "\n")
    #expect(lines.contains("d_seconds_bucket{l=\"x\",le=\"0.0001\"} 1"))
    #expect(lines.contains("d_seconds_bucket{l=\"x\",le=\"0.0005\"} 2"))
    #expect(lines.contains("d_seconds_bucket{l=\"x\",le=\"60.0\"} 2"))
    #expect(lines.contains("d_seconds_bucket{l=\"x\",le=\"+Inf\"} 3"))
    #expect(lines.contains("d_seconds_count{l=\"x\"} 3"))
    #expect(lines.contains("d_seconds_sum{l=\"x\"} 100.00049"))
  }

  @Test func aLabelCannotEndItsLine() {
    var writer = FamilyWriter(.text)
    writer.series("m", [("l", "a\"b\\c\nd")], "1")
    #expect(String(decoding: writer.finish(), as: UTF8.self) == "m{l=\"a\\\"b\\\\c\\nd\"} 1\n")
  }
}
