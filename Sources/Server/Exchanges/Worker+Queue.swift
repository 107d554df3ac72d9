// Waiting in the queue of a pool whose members are all full, and which exchange is woken by a free
// slot.
//
// The queue is Balancing's (WaitingLine) and belongs to the whole process: a slot that is released
// here may go to an exchange of another worker, which gets a message in its inbox. A waiting
// exchange continues to read its client's body as long as it may be kept, and notices when the
// client disconnects.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Whether this exchange must wait instead of selecting a member: a new exchange waits behind
  /// those that wait already, but a retry has had its turn.
  mutating func mustQueue(_ handle: Handle) -> Bool {
    exchanges[handle].pool.pool.queueMax > 0 && !isRetry(handle)
      && exchanges[handle].pool.pool.record.line.hasNewcomers
  }

  private mutating func isRetry(_ handle: Handle) -> Bool { exchanges[handle].machine.hasAttempted }

  /// Whether it may wait for another member than a new exchange would take: as a retry, or because
  /// its client has logged in over a connection to one backend.
  private mutating func wantsItsOwn(_ handle: Handle) -> Bool {
    isRetry(handle) || exchanges[handle].attempt.login != .none
  }

  /// All members are full: waits, if there is room in the queue.
  mutating func standInLine(_ handle: Handle) {
    let pool = exchanges[handle].pool.pool
    guard pool.queueMax > 0 else {
      perform(exchanges[handle].machine.handle(.unavailable(.allFull), at: now), handle)
      return
    }
    let joining = pool.record.line.join(
      waiter(handle), isRetry: wantsItsOwn(handle), limit: pool.queueMax)
    if case .full = joining {
      perform(exchanges[handle].machine.handle(.unavailable(.queueFull), at: now), handle)
      return
    }
    exchanges[handle].queue.since = now
    metrics.add(.exchangesQueued)
    metrics.add(.exchangesWaiting)
    perform(exchanges[handle].machine.handle(.queued, at: now), handle)
    if case .look = joining { takeTurn(handle) }
  }

  /// It is the exchange's turn to select a member. It may have left the queue in the meantime, and
  /// has then passed the turn on.
  mutating func takeTurn(_ handle: Handle) {
    guard exchanges.contains(handle), exchanges[handle].queue.since != nil else { return }
    let record = exchanges[handle].pool.pool.record
    record.line.takeTurn(waiter(handle))
    do throws(Unavailability) {
      let pick = try select(handle)
      leaveLine(handle)
      begin(handle, with: pick)
    } catch {
      if error == .allFull {
        // It keeps its place in the queue. Under an older configuration, as a retry, or bound to
        // one backend, it may wait for a slot that no other exchange wants; then the others select
        // first.
        let isPlain = !wantsItsOwn(handle) && exchanges[handle].generation == generations.last?.id
        if !isPlain { passTurn(in: record, after: waiter(handle)) }
        return
      }
      leaveLine(handle)
      perform(exchanges[handle].machine.handle(.unavailable(error), at: now), handle)
    }
  }

  /// It leaves the queue for any reason. The next one may select, since more than one slot may be
  /// free.
  mutating func leaveLine(_ handle: Handle) {
    guard let queuedAt = exchanges[handle].queue.since else { return }
    exchanges[handle].queue.since = nil
    exchanges[handle].queue.time.nanoseconds += (now - queuedAt).nanoseconds
    metrics.subtract(.exchangesWaiting)
    let record = exchanges[handle].pool.pool.record
    record.line.leave(waiter(handle))
    passTurn(in: record)
  }

  /// A slot may be free in the pool: lets the first exchange in the queue select, or the first
  /// behind one that found none.
  mutating func passTurn(in pool: PoolRecord, after waiter: Waiter? = nil) {
    guard let next = pool.line.nextTurn(after: waiter) else { return }
    let handle = Handle(packed: next.exchange)
    if next.worker == index {
      queueTurn(exchange: handle)
    } else {
      peers[next.worker].post(.turn(handle))
    }
  }

  private mutating func waiter(_ handle: Handle) -> Waiter {
    Waiter(worker: index, exchange: handle.packed)
  }

  // MARK: Health

  /// A backend's health has changed. Logs this, and wakes the exchanges in the queue: they may find
  /// a free slot now, or may have to fail.
  ///
  /// - Parameter reason: why the last check or request failed.
  mutating func flipped(
    _ backend: BackendRecord, _ flip: Flip, in pool: Pool, reason: String? = nil
  ) {
    events.flipped(backend, flip, reason: reason)
    if case .ejected = flip { metrics.add(.ejections) }
    if flip.isUp && pool.slowStart != nil { metrics.add(.slowStarts) }
    events.availability(of: pool)
    passTurn(in: pool.record)
  }
}
