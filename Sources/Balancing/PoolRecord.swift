// The part of a pool that outlives reloads. During a reload the old and the new Pool share this
// record, so both see each health change, and counts stay correct.
//
// Code that changes something (health, admin state, members) and the workers communicate only by
// the version: the code changes first, then calls `announce`. A worker that sees another version
// than its own takes a new rotation (PoolView).

import Primitives
import Synchronization

/// A pool's atomics. The `BackendRegistry` finds them by name.
public final class PoolRecord: Sendable {
  public let name: String

  private let versionCell = Atomic<UInt64>(0)
  private let cursors = Mutex<[Cursor]>([])
  private let tables = Mutex<[MaglevTable]>([])
  private let retries = Atomic<Int>(0)
  /// The last noted value: whether a backend is available.
  private let isAvailable = Atomic<Bool>(true)
  /// Likewise: whether health doesn't count.
  private let isPanicking = Atomic<Bool>(false)
  /// The queue of this pool.
  public let line = WaitingLine()

  init(name: String) { self.name = name }

  /// Increases with each change that affects selection.
  var version: UInt64 { versionCell.load(ordering: .acquiring) }

  /// Makes every worker take a new rotation at its next pick.
  func announce() { versionCell.wrappingAdd(1, ordering: .acquiringAndReleasing) }

  /// The cursor of the level with this place in the order. Each level has its own: a pick that
  /// reaches a later one has already used turns of the first, often the same number each time, and
  /// with a shared cursor some members would be skipped each time.
  func cursor(ofLevel place: Int) -> Cursor {
    cursors.withLock { cursors in
      while cursors.count <= place { cursors.append(Cursor()) }
      return cursors[place]
    }
  }

  /// The tables for these members, by level. One of the last call is used again if it has the same
  /// members. Only the control thread calls this, and no worker waits for it.
  func maglevTables(of levels: [[MaglevTable.Entry]]) -> [MaglevTable] {
    tables.withLock { tables in
      tables = levels.map { entries in
        tables.first { $0.entries == entries } ?? MaglevTable(entries)
      }
      return tables
    }
  }

  /// Returns the previous value; only one of several callers gets it.
  func noteAvailability(_ isAvailable: Bool) -> Bool {
    self.isAvailable.exchange(isAvailable, ordering: .acquiringAndReleasing)
  }

  func notePanic(_ isPanicking: Bool) -> Bool {
    self.isPanicking.exchange(isPanicking, ordering: .acquiringAndReleasing)
  }

  /// Active retries that were charged to the budget.
  public var retryCount: Int { retries.load(ordering: .relaxed) }

  func tryBeginRetry(limit: Int) -> Bool { retries.tryIncrement(limit: limit) }

  func endRetry() {
    let count = retries.wrappingSubtract(1, ordering: .relaxed).newValue
    assert(count >= 0, "refunding a retry that was not charged")
  }
}

/// A sequence of numbers that all workers share.
final class Cursor: Sendable {
  private let ticket = Atomic<UInt64>(0)

  /// No other caller gets the same one.
  func next() -> UInt64 { ticket.wrappingAdd(1, ordering: .relaxed).oldValue }
}

extension Atomic where Value == Int {
  /// Adds one unless the result would exceed `limit`.
  func tryIncrement(limit: Int) -> Bool {
    var seen = load(ordering: .relaxed)
    while seen < limit {
      let exchange = weakCompareExchange(
        expected: seen, desired: seen + 1, ordering: .relaxed)
      if exchange.exchanged { return true }
      seen = exchange.original
    }
    return false
  }
}
