// Durations so finely counted that every quantile is right within 1 %.
//
// Up to 127 microseconds each has a bucket of its own; above, each doubling has 64 of the same
// width, so that a bucket is at most 1/64 of its values wide and its middle at most 0.8 % off. It
// ends at 2^27 microseconds, more than two minutes; what is longer counts as that. One worker
// writes, anyone reads.

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
    // So that what is left of the value is 64 to 127.
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

  /// The counts of several writers at about one moment, to take quantiles of, or to subtract from a
  /// later reading.
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

    /// What was counted since an earlier reading of the same histograms.
    public func since(_ earlier: Reading) -> Reading {
      var result = self
      for bucket in counts.indices { result.counts[bucket] &-= earlier.counts[bucket] }
      result.total = total &- earlier.total
      return result
    }

    /// The duration below which the fraction `share` of all lies, in microseconds; nil when nothing
    /// was counted.
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
