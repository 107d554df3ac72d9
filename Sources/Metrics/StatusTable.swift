// Requests of one route by method and exact status, counted by one worker.
//
// The responses of a route have few of the thousands of possible pairs, so this is a small hash
// table of those that occurred. When it is full, further pairs are counted together. So the number
// of series is limited, whatever clients request and backends answer.

import Synchronization

/// One writer; any thread may read.
public final class StatusTable: Sendable {
  /// The maximum number of different pairs.
  public static let pairMax = 32

  /// `method << 16 | status`, plus one; 0 for a free entry.
  private let keys = InlineArray<32, Atomic<UInt32>> { _ in Atomic(0) }
  private let counts = InlineArray<32, Atomic<UInt64>> { _ in Atomic(0) }
  private let others = Atomic<UInt64>(0)

  public init() {}

  /// `method` is the index of a method in its enum. Worker only.
  public func add(method: UInt8, status: UInt16) {
    let key = (UInt32(method) << 16 | UInt32(status)) &+ 1
    var place = Int((key &* 2_654_435_769) >> 27)
    for _ in 0..<Self.pairMax {
      let found = keys[place].load(ordering: .relaxed)
      if found == key || found == 0 {
        counts[place].store(
          counts[place].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        // Written after the count, so that no thread reads a key with the count of another key.
        if found == 0 { keys[place].store(key, ordering: .releasing) }
        return
      }
      place = (place + 1) % Self.pairMax
    }
    others.store(others.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  /// The sum of several workers' tables.
  public struct Reading: Sendable {
    /// By method and status, in order.
    public private(set) var counts: [(method: UInt8, status: UInt16, count: UInt64)] = []
    /// The count of pairs that found no free entry.
    public private(set) var others: UInt64 = 0

    public init(of tables: [StatusTable]) {
      var sums: [UInt32: UInt64] = [:]
      for table in tables {
        others &+= table.others.load(ordering: .relaxed)
        for place in 0..<StatusTable.pairMax {
          let key = table.keys[place].load(ordering: .acquiring)
          if key != 0 {
            sums[key &- 1, default: 0] &+= table.counts[place].load(ordering: .relaxed)
          }
        }
      }
      counts = sums.sorted { $0.key < $1.key }.map {
        (UInt8($0.key >> 16), UInt16(truncatingIfNeeded: $0.key), $0.value)
      }
    }
  }
}
