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
  private let primaryCursor = Atomic<UInt64>(0)
  private let backupCursor = Atomic<UInt64>(0)
  private let retries = Atomic<Int>(0)
  /// The last noted value: whether a backend is available.
  private let isAvailable = Atomic<Bool>(true)
  /// The queue of this pool.
  public let line = WaitingLine()

  init(name: String) { self.name = name }

  /// Increases with each change that affects selection.
  var version: UInt64 { versionCell.load(ordering: .acquiring) }

  /// Makes every worker take a new rotation at its next pick.
  func announce() { versionCell.wrappingAdd(1, ordering: .acquiringAndReleasing) }

  /// The next number of one sequence that all workers share. Backups have a separate sequence: a
  /// pick that reaches them has already used turns of the primaries, often the same number each
  /// time, and with a shared sequence some backups would be skipped each time.
  func nextTicket(ofBackups: Bool) -> UInt64 {
    ofBackups
      ? backupCursor.wrappingAdd(1, ordering: .relaxed).oldValue
      : primaryCursor.wrappingAdd(1, ordering: .relaxed).oldValue
  }

  /// Returns the previous value; only one of several callers gets it.
  func noteAvailability(_ isAvailable: Bool) -> Bool {
    self.isAvailable.exchange(isAvailable, ordering: .acquiringAndReleasing)
  }

  /// Active retries that were charged to the budget.
  public var retryCount: Int { retries.load(ordering: .relaxed) }

  func tryBeginRetry(limit: Int) -> Bool { retries.tryIncrement(limit: limit) }

  func endRetry() {
    let count = retries.wrappingSubtract(1, ordering: .relaxed).newValue
    assert(count >= 0, "refunding a retry that was not charged")
  }
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
