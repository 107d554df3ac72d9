// The line in front of a pool whose members are all full: first come, first served, over the whole
// process.
//
// It hands out turns, not places: whoever gives a place back lets the first waiter without a turn
// look, and that one selects by the same rules as everybody else. A turn that finds nothing costs
// no place in the line; whoever leaves passes the turn on, so that places which came free at once
// are all found. A retry wants none of the members it has tried, so it stands in nobody's way: who
// is new looks at once if only retries stand in front, and a retry passes a vain turn on.
//
// No wake-up is lost: a waiter is counted before it looks for the last time, and a place is free
// before the count is read. The line knows no time, and not how a turn gets to another worker. As
// long as nobody waits, all that an exchange sees of it are counts that nobody writes. All workers
// share the lock, so nothing under it walks over the line (`WaitingPlaces`).

import Synchronization

/// An exchange that waits, as its worker calls it.
public struct Waiter: Hashable, Sendable {
  public let worker: Int
  public let exchange: UInt64

  public init(worker: Int, exchange: UInt64) {
    self.worker = worker
    self.exchange = exchange
  }
}

/// Who waits for a place in one pool.
public struct WaitingLine: ~Copyable, Sendable {
  /// What became of a request to stand in line.
  public enum Joining: Sendable {
    /// As many wait as may.
    case full
    /// Nobody stands in the way: look once more, for a place that came free meanwhile.
    case look
    /// Others have to be served before.
    case behind
  }

  private let places = Mutex(WaitingPlaces())
  private let waiting = Atomic<Int>(0)
  private let newcomers = Atomic<Int>(0)

  init() {}

  /// How many wait.
  public var count: Int { waiting.load(ordering: .sequentiallyConsistent) }
  /// Must an exchange that is new stand behind others?
  public var hasNewcomers: Bool { newcomers.load(ordering: .relaxed) != 0 }

  public func join(_ waiter: Waiter, isRetry: Bool, limit: Int) -> Joining {
    let joining = places.withLock { places -> Joining in
      if places.count >= limit { return .full }
      let isFree = isRetry || places.newcomerCount == 0
      places.append(waiter, isRetry: isRetry)
      note(places)
      return isFree ? .look : .behind
    }
    // The look that follows must see every place whose owner has not seen this count.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return joining
  }

  /// The first who has no turn yet gets one, among those behind `waiter` if it is given; nil when
  /// nobody is left to ask.
  public func nextTurn(after waiter: Waiter? = nil) -> Waiter? {
    if count == 0 { return nil }
    return places.withLock { $0.giveTurn(after: waiter) }
  }

  /// The waiter is about to look. Before it does, so that a place which comes free while it looks
  /// gives it another turn.
  public func takeTurn(_ waiter: Waiter) { places.withLock { $0.takeTurn(waiter) } }

  /// The waiter has what it wants, or wants it no more. Then the turn is to be passed on.
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
