// What was counted for one subject between two readings: the traffic and its durations.
//
// The quantiles are estimated from the buckets that Prometheus gets too, by the algorithm of its
// histogram_quantile. So their precision is the width of a bucket. A FineHistogram per backend
// would need 11 KiB per worker.

public struct RecentTraffic: Sendable {
  public let attempts: UInt64
  public let failures: UInt64
  /// Responses by class, from 1xx to 5xx.
  public let responses: [UInt64]
  private let buckets: [UInt64]

  private static let classes: [TrafficCounter] = [
    .responses1xx, .responses2xx, .responses3xx, .responses4xx, .responses5xx,
  ]

  /// `earlier` is a reading of the same subject.
  public init(_ reading: TrafficReading, since earlier: TrafficReading) {
    attempts = reading[.attempts] &- earlier[.attempts]
    failures = reading.failureCount &- earlier.failureCount
    responses = Self.classes.map { reading[$0] &- earlier[$0] }
    buckets = zip(reading.durations.buckets, earlier.durations.buckets).map { $0 &- $1 }
  }

  /// The duration below which the fraction `share` of all durations is, in microseconds; nil if
  /// nothing was counted. Durations above the last bound count as the last bound.
  public func quantile(_ share: Double) -> Double? {
    let total = buckets.reduce(0, &+)
    if total == 0 { return nil }
    let rank = max(1, Double(total) * share)
    var below: UInt64 = 0
    var low = 0.0
    for (index, bound) in DurationHistogram.bounds.enumerated() {
      let high = Double(bound)
      let reached = below &+ buckets[index]
      if buckets[index] > 0 && Double(reached) >= rank {
        return low + (high - low) * (rank - Double(below)) / Double(buckets[index])
      }
      below = reached
      low = high
    }
    return low
  }
}
