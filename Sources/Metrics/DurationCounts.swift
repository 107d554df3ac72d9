// Durations of one kind, counted by one worker in the buckets of DurationHistogram.
//
// It is not copyable, so that it is stored inside its block: a class would cost reference counting
// for each request.

public import Primitives
import Synchronization

/// One writer; any thread may read.
public struct DurationCounts: ~Copyable, Sendable {
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

    public init() {}

    /// Adds the counts of one more worker.
    public mutating func add(_ counts: borrowing DurationCounts) {
      for bucket in buckets.indices {
        buckets[bucket] &+= counts.buckets[bucket].load(ordering: .relaxed)
      }
      sumMicroseconds &+= counts.sum.load(ordering: .relaxed)
    }

    public var count: UInt64 { buckets.reduce(0, &+) }
  }
}
