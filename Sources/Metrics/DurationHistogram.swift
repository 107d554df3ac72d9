// The buckets of durations for Prometheus: 19, at round numbers from 0.1 ms to a minute.
//
// The dashboard uses finer ones (FineHistogram). These are few, because every route and every
// backend has a series for each bucket.

enum DurationHistogram {
  /// The upper bounds in microseconds. The last bucket, which has no bound, is not in this list.
  static let bounds: [UInt64] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
  ]

  /// The bounds as labels, in seconds, in the number format of OpenMetrics. A different text would
  /// be a different series.
  static let labels = [
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
    "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf",
  ]

  static var bucketCount: Int { 19 }

  /// The bucket of a duration. Short durations are tested first, because they are most frequent.
  static func bucket(of microseconds: UInt64) -> Int {
    switch microseconds {
    case ...1_000: microseconds <= 250 ? (microseconds <= 100 ? 0 : 1) : microseconds <= 500 ? 2 : 3
    case ...10_000: microseconds <= 2_500 ? 4 : microseconds <= 5_000 ? 5 : 6
    case ...100_000: microseconds <= 25_000 ? 7 : microseconds <= 50_000 ? 8 : 9
    case ...1_000_000: microseconds <= 250_000 ? 10 : microseconds <= 500_000 ? 11 : 12
    case ...10_000_000: microseconds <= 2_500_000 ? 13 : microseconds <= 5_000_000 ? 14 : 15
    case ...60_000_000: microseconds <= 30_000_000 ? 16 : 17
    default: 18
    }
  }
}
