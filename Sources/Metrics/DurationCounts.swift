// Durations of one kind, counted by one worker in the buckets of DurationHistogram.

public import Primitives
import Synchronization

/// One writer; any thread may read.
public final class DurationCounts: Sendable {
  private let buckets = InlineArray<19, Atomic<UInt64>> { _ in Atomic(0) }
  private let sum = Atomic<UInt64>(0)

  public init() {}

  /// Worker only.
  public func add(_ duration: TimeSpan) {
    let microseconds = UInt64(max(0, duration.microseconds))
    let bucket = DurationHistogram.bucket(of: microseconds)
    buckets[bucket].store(
      buckets[bucket].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    sum.store(sum.load(ordering: .relaxed) &+ microseconds, ordering: .relaxed)
  }

  /// The sum of the counts of several workers, read at nearly the same time.
  public struct Reading: Sendable {
    private(set) var buckets = [UInt64](repeating: 0, count: DurationHistogram.bucketCount)
    private(set) var sumMicroseconds: UInt64 = 0

    public init(of counts: [DurationCounts]) {
      for count in counts {
        for bucket in buckets.indices {
          buckets[bucket] &+= count.buckets[bucket].load(ordering: .relaxed)
        }
        sumMicroseconds &+= count.sum.load(ordering: .relaxed)
      }
    }

    public var count: UInt64 { buckets.reduce(0, &+) }
  }
}
