// A histogram of durations with an error of less than 1 % for every quantile.
//
// Each microsecond up to 127 has its own bucket. Above, each power of two is divided into 64
// buckets of equal width, so the middle of a bucket differs from its values by at most 0.8 %. The
// maximum is 2^27 microseconds (more than two minutes); longer durations count as the maximum. One
// worker writes; any thread reads.

import Synchronization

public final class FineHistogram: Sendable {
  private let counts = InlineArray<1408, Atomic<UInt64>> { _ in Atomic(0) }

  public init() {}

  /// Writer only.
  public func add(microseconds: UInt64) {
    let bucket = Self.bucket(of: microseconds)
    let old = counts[bucket].load(ordering: .relaxed)
    counts[bucket].store(old &+ 1, ordering: .relaxed)
  }

  static let bucketCount = 1408

  static func bucket(of microseconds: UInt64) -> Int {
    if microseconds < 128 { return Int(microseconds) }
    let value = min(microseconds, 1 << 27 - 1)
    // The shifted value is 64 to 127.
    let shift = 57 - value.leadingZeroBitCount
    return 64 + shift * 64 + Int(value >> UInt64(shift)) - 64
  }

  /// The middle of a bucket, in microseconds.
  static func value(of bucket: Int) -> Double {
    if bucket < 128 { return Double(bucket) }
    let shift = bucket / 64 - 1
    let low = (bucket % 64 + 64) << shift
    return Double(low) + Double((1 << shift) - 1) / 2
  }

  /// The sum of the counts of several writers at about one moment. It gives quantiles, and can be
  /// subtracted from a later reading.
  public struct Reading: Sendable {
    private var counts: [UInt64]
    public private(set) var total: UInt64

    public init(of histograms: [FineHistogram]) {
      var counts = [UInt64](repeating: 0, count: FineHistogram.bucketCount)
      for histogram in histograms {
        for bucket in counts.indices {
          counts[bucket] &+= histogram.counts[bucket].load(ordering: .relaxed)
        }
      }
      self.counts = counts
      total = counts.reduce(0, &+)
    }

    /// The counts since an earlier reading of the same histograms.
    public func since(_ earlier: Reading) -> Reading {
      var result = self
      for bucket in counts.indices { result.counts[bucket] &-= earlier.counts[bucket] }
      result.total = total &- earlier.total
      return result
    }

    /// The duration, in microseconds, that the fraction `share` of all durations doesn't exceed;
    /// nil if there are none.
    public func quantile(_ share: Double) -> Double? {
      if total == 0 { return nil }
      let rank = max(1, UInt64((Double(total) * share).rounded(.up)))
      var seen: UInt64 = 0
      for bucket in counts.indices {
        seen &+= counts[bucket]
        if seen >= rank { return FineHistogram.value(of: bucket) }
      }
      return nil
    }
  }
}
