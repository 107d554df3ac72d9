// The queue of a pool whose members are all full: first come, first served, over the whole process.
//
// It hands out turns, not slots. Code that releases a slot gives a turn to the first waiter without
// one, and that waiter selects a member by the usual rules. A waiter whose turn finds nothing keeps
// its position. A waiter that leaves passes the turn on, so that several slots that became free at
// once are all used. A retry doesn't want the members it has tried, so it must not block others: a
// new exchange selects at once if there are only retries before it, and a retry passes on a turn
// that it could not use.
//
// No wake-up is lost: a waiter is counted before its last selection, and a slot is released before
// the count is read. The queue has no timeouts, and doesn't deliver turns to other workers. While
// it is empty, an exchange only reads counts that are not written.

import Synchronization

/// An exchange that waits, as identified by its worker.
public struct Waiter: Equatable, Sendable {
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

  /// Not private, since the compiler could not lay out the queue in another file then.
  struct Place {
    let waiter: Waiter
    let isRetry: Bool
    /// It was given a turn, and has not used it yet.
    var hasTurn = false
  }

  private let places = Mutex<[Place]>([])
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
      let isFree = isRetry || places.allSatisfy(\.isRetry)
      places.append(Place(waiter: waiter, isRetry: isRetry))
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
    return places.withLock { places in
      let index = places.firstIndex { $0.waiter == waiter }.map { $0 + 1 } ?? 0
      guard let next = places[index...].firstIndex(where: { !$0.hasTurn }) else { return nil }
      places[next].hasTurn = true
      return places[next].waiter
    }
  }

  /// The waiter is about to select. Call this before it does: a slot that becomes free during the
  /// selection then gives it another turn.
  public func takeTurn(_ waiter: Waiter) {
    places.withLock { places in
      guard let index = places.firstIndex(where: { $0.waiter == waiter }) else { return }
      places[index].hasTurn = false
    }
  }

  /// The waiter has a slot, or no longer wants one. The caller then passes the turn on.
  public func leave(_ waiter: Waiter) {
    places.withLock { places in
      places.removeAll { $0.waiter == waiter }
      note(places)
    }
  }

  private func note(_ places: [Place]) {
    newcomers.store(places.count { !$0.isRetry }, ordering: .relaxed)
    waiting.store(places.count, ordering: .sequentiallyConsistent)
  }
}
