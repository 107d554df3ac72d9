// The queue of a pool whose members are all full: first come, first served, over the whole process.
//
// It hands out turns, not slots. Code that releases a slot gives a turn to the first waiter without
// one, and that waiter selects a member by the usual rules. A waiter whose turn finds nothing keeps
// its position. A waiter that leaves passes the turn on, so that several slots that became free at
// once are all used. A retry doesn't want the members it has tried, so it must not block others: a
// new exchange selects at once if there are only retries before it, and a retry passes on a turn
// that it could not use.
//
// No wake-up is lost: a waiter is counted before its last check, and a slot is free before the
// count is read. The queue does not measure time, and does not know how a turn reaches another
// worker. While no exchange waits, exchanges only read counts that do not change. All workers share
// the lock, so no code under it walks over the queue (`WaitingPlaces`).

import Synchronization

/// A waiting exchange, as its worker identifies it.
public struct Waiter: Hashable, Sendable {
  public let worker: Int
  public let exchange: UInt64

  public init(worker: Int, exchange: UInt64) {
    self.worker = worker
    self.exchange = exchange
  }
}

/// The waiting exchanges of one pool.
public struct WaitingLine: ~Copyable, Sendable {
  /// The result of a request to join the queue.
  public enum Joining: Sendable {
    /// The queue is full.
    case full
    /// There is no one before it: select once more, since a slot may have become free in the
    /// meantime.
    case look
    /// Others are served first.
    case behind
  }

  private let places = Mutex(WaitingPlaces())
  private let waiting = Atomic<Int>(0)
  private let newcomers = Atomic<Int>(0)

  init() {}

  /// The number of waiting exchanges.
  public var count: Int { waiting.load(ordering: .sequentiallyConsistent) }
  /// Whether a new exchange must queue behind others.
  public var hasNewcomers: Bool { newcomers.load(ordering: .relaxed) != 0 }

  public func join(_ waiter: Waiter, isRetry: Bool, limit: Int) -> Joining {
    let joining = places.withLock { places -> Joining in
      if places.count >= limit { return .full }
      let isFree = isRetry || places.newcomerCount == 0
      places.append(waiter, isRetry: isRetry)
      note(places)
      return isFree ? .look : .behind
    }
    // The selection that follows must see every slot whose owner has not seen this count.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return joining
  }

  /// Gives a turn to the first waiter without one, after `waiter` if it is given; nil if there is
  /// none.
  public func nextTurn(after waiter: Waiter? = nil) -> Waiter? {
    if count == 0 { return nil }
    return places.withLock { $0.giveTurn(after: waiter) }
  }

  /// The waiter is about to check. Call this before the check, so that a slot that becomes free
  /// during it gives the waiter another turn.
  public func takeTurn(_ waiter: Waiter) { places.withLock { $0.takeTurn(waiter) } }

  /// The waiter has a slot, or no longer wants one. The caller then passes the turn on.
  public func leave(_ waiter: Waiter) {
    places.withLock { places in
      places.remove(waiter)
      note(places)
    }
  }

  private func note(_ places: borrowing WaitingPlaces) {
    newcomers.store(places.newcomerCount, ordering: .relaxed)
    waiting.store(places.count, ordering: .sequentiallyConsistent)
  }
}
