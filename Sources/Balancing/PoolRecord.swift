// What of a pool outlives reloads: during one, the old and the new Pool stand on the same record,
// so a flip seen through either reaches both, and counts stay true.
//
// The version is the whole protocol between those who change something (a flip, an admin command, a
// new membership) and the workers: change first, then `announce`; a worker that sees another
// version than its own takes a new rotation (PoolView).

import Primitives
import Synchronization

/// A pool's atomics, found again by name in the `BackendRegistry`.
public final class PoolRecord: Sendable {
  public let name: String

  private let versionCell = Atomic<UInt64>(0)
  private let primaryCursor = Atomic<UInt64>(0)
  private let backupCursor = Atomic<UInt64>(0)
  private let retries = Atomic<Int>(0)
  /// What was last noted: whether a backend is available.
  private let isAvailable = Atomic<Bool>(true)
  /// Who waits for a place at this pool.
  public let line = WaitingLine()

  init(name: String) { self.name = name }

  /// Moves at each change that concerns selection.
  var version: UInt64 { versionCell.load(ordering: .acquiring) }

  /// Makes every worker take a new rotation at its next pick.
  func announce() { versionCell.wrappingAdd(1, ordering: .acquiringAndReleasing) }

  /// The next number of the one sequence that all workers draw from. The backups have their own:
  /// a pick that comes to them has used up turns of the primaries, often the same number each time,
  /// and their own turns would skip in step with it.
  func nextTicket(ofBackups: Bool) -> UInt64 {
    ofBackups
      ? backupCursor.wrappingAdd(1, ordering: .relaxed).oldValue
      : primaryCursor.wrappingAdd(1, ordering: .relaxed).oldValue
  }

  /// Returns what was noted before; only one of several callers gets the old value.
  func noteAvailability(_ isAvailable: Bool) -> Bool {
    self.isAvailable.exchange(isAvailable, ordering: .acquiringAndReleasing)
  }

  /// Retries under way that were charged to the budget.
  public var retryCount: Int { retries.load(ordering: .relaxed) }

  func tryBeginRetry(limit: Int) -> Bool { retries.tryIncrement(limit: limit) }

  func endRetry() {
    let count = retries.wrappingSubtract(1, ordering: .relaxed).newValue
    assert(count >= 0, "refunding a retry that was not charged")
  }
}

extension Atomic where Value == Int {
  /// Adds one unless that would exceed `limit`.
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
