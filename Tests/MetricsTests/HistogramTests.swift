// Durations: the buckets for Prometheus, and quantiles with an error of at most 1 %.

import Primitives
import Testing

@testable import Metrics

@Suite struct HistogramTests {
  @Test func everyBoundIsTheLastOfItsBucket() {
    for (index, bound) in DurationHistogram.bounds.enumerated() {
      #expect(DurationHistogram.bucket(of: bound) == index)
      #expect(DurationHistogram.bucket(of: bound + 1) == index + 1)
    }
    #expect(DurationHistogram.bucket(of: 0) == 0)
    #expect(DurationHistogram.bucket(of: .max) == DurationHistogram.bucketCount - 1)
  }

  @Test func labelsAreTheBoundsInSeconds() {
    let numbers = DurationHistogram.labels.dropLast().compactMap { Double($0) }
    #expect(numbers == DurationHistogram.bounds.map { Double($0) / 1e6 })
    #expect(DurationHistogram.labels.last == "+Inf")
  }

  @Test func fineBucketsFollowOneAnotherWithoutAGap() {
    var last = 0
    for microseconds in UInt64(0)..<100_000 {
      let bucket = FineHistogram.bucket(of: microseconds)
      #expect(bucket == last || bucket == last + 1)
      last = bucket
    }
    #expect(FineHistogram.bucket(of: 1 << 27 - 1) == FineHistogram.bucketCount - 1)
    #expect(FineHistogram.bucket(of: .max) == FineHistogram.bucketCount - 1)
  }

  @Test func aBucketsValueIsWithinOnePercentOfAllItHolds() {
    var value: UInt64 = 100
    while value < 120_000_000 {
      let shown = FineHistogram.value(of: FineHistogram.bucket(of: value))
      #expect(abs(shown - Double(value)) <= Double(value) * 0.01, "\(value) shows as \(shown)")
      value += value / 97 + 1
    }
  }

  @Test func quantilesOfKnownDurations() throws {
    let histogram = FineHistogram()
    for milliseconds in UInt64(1)...1000 { histogram.add(microseconds: milliseconds * 1000) }
    let reading = FineHistogram.Reading(of: [histogram])
    for (share, expected) in [(0.5, 500_000.0), (0.9, 900_000), (0.99, 990_000), (1, 1_000_000)] {
      let value = try #require(reading.quantile(share))
      #expect(abs(value - expected) <= expected * 0.01, "\(share): \(value)")
    }
  }

  @Test func aDifferenceHoldsOnlyWhatCameSince() {
    let histogram = FineHistogram()
    for _ in 0..<100 { histogram.add(microseconds: 50) }
    let before = FineHistogram.Reading(of: [histogram])
    histogram.add(microseconds: 90)
    let since = FineHistogram.Reading(of: [histogram]).since(before)
    #expect(since.total == 1 && since.quantile(0.5) == 90)
    #expect(before.since(before).quantile(0.5) == nil)
  }
}
