// The counters of one worker: only the worker writes them, a scrape reads them at any time.
//
// With a single writer a relaxed load and a relaxed store are enough: they compile to a plain add
// in memory, without a locked instruction or a shared cache line. A scrape never sees a torn value,
// but two values of one scrape may be from slightly different moments.

import Primitives
public import Synchronization

/// The counters of one worker. Any thread may read; only the worker writes.
public final class WorkerMetrics: Sendable {
  /// 128 bytes before and after the counters (two cache lines, because processors fetch pairs), so
  /// that the blocks of two workers never share a cache line.
  private let paddingBefore = InlineArray<16, UInt64>(repeating: 0)
  @usableFromInline let values = InlineArray<128, Atomic<UInt64>> { _ in Atomic(0) }
  @usableFromInline let splits = InlineArray<1056, Atomic<UInt64>> { _ in Atomic(0) }
  /// The duration of TLS handshakes that succeeded.
  public let handshakes = DurationCounts()
  private let paddingBehind = InlineArray<16, UInt64>(repeating: 0)

  public init() {}

  /// Worker only.
  @inlinable @inline(__always)
  public func add(_ metric: Metric, _ amount: Int = 1) {
    let old = values[metric.rawValue].load(ordering: .relaxed)
    values[metric.rawValue].store(
      old &+ UInt64(truncatingIfNeeded: amount), ordering: .relaxed)
  }

  /// For gauges. Worker only.
  @inlinable @inline(__always)
  public func subtract(_ metric: Metric, _ amount: Int = 1) { add(metric, -amount) }

  /// Counts a word by its index in its vocabulary. Worker only.
  @inlinable @inline(__always)
  public func add(_ metric: SplitMetric, at place: UInt8) {
    let index = metric.rawValue * SplitMetric.placeCount + Int(place)
    splits[index].store(splits[index].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  @inlinable
  func value(split index: Int) -> UInt64 { splits[index].load(ordering: .relaxed) }

  @inlinable
  public func value(_ metric: Metric) -> UInt64 {
    values[metric.rawValue].load(ordering: .relaxed)
  }
}

/// The sum over all workers at about one moment.
public struct MetricsSnapshot: Sendable {
  private var values = [UInt64](repeating: 0, count: Metric.allCases.count)
  private var splits = [UInt64](
    repeating: 0, count: SplitMetric.allCases.count * SplitMetric.placeCount)

  public init(of workers: [WorkerMetrics]) {
    for worker in workers {
      for metric in Metric.allCases { values[metric.rawValue] &+= worker.value(metric) }
      for index in splits.indices { splits[index] &+= worker.value(split: index) }
    }
  }

  public subscript(metric: SplitMetric, at place: Int) -> UInt64 {
    splits[metric.rawValue * SplitMetric.placeCount + place]
  }

  /// If a gauge is read while a connection is between two counters, the sum can be below zero. Then
  /// the value is zero.
  public subscript(metric: Metric) -> UInt64 {
    let value = values[metric.rawValue]
    return value > UInt64(Int64.max) ? 0 : value
  }

  /// Every gauge by its name; values may be negative.
  public var gauges: [(name: String, value: Int64)] {
    Metric.allCases.filter { $0.entry.kind == .gauge }.map {
      ("\($0.entry.family)", Int64(bitPattern: values[$0.rawValue]))
    }
  }
}
