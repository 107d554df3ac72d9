// WaitingLine: first come, first served; waiters miss no slot that becomes free.

import Foundation
import Primitives
import Synchronization
import Testing

@testable import Balancing

private func waiter(_ number: Int) -> Waiter { Waiter(worker: 0, exchange: UInt64(number)) }

/// A queue in a class, so that an expectation may use it.
private final class Line {
  private let line = WaitingLine()
  var count: Int { line.count }
  var hasNewcomers: Bool { line.hasNewcomers }
  func join(_ waiter: Waiter, isRetry: Bool = false, limit: Int = 9) -> WaitingLine.Joining {
    line.join(waiter, isRetry: isRetry, limit: limit)
  }
  func nextTurn(after waiter: Waiter? = nil) -> Waiter? { line.nextTurn(after: waiter) }
  func takeTurn(_ waiter: Waiter) { line.takeTurn(waiter) }
  func leave(_ waiter: Waiter) { line.leave(waiter) }
}

@Suite struct WaitingLineTests {
  @Test func turnsGoInTheOrderOfArrival() {
    let line = Line()
    let joinings = (1...3).map { line.join(waiter($0), limit: 3) }
    #expect(joinings == [.look, .behind, .behind])
    // Three slots became free at once; no waiter gets two turns for one selection.
    #expect((0..<4).map { _ in line.nextTurn() } == [waiter(1), waiter(2), waiter(3), nil])
  }

  @Test func aTurnThatFindsNothingKeepsTheWaitersPosition() {
    let line = Line()
    for number in 1...2 { _ = line.join(waiter(number)) }
    #expect(line.nextTurn() == waiter(1))
    line.takeTurn(waiter(1))
    #expect(line.nextTurn() == waiter(1))
  }

  @Test func aFullQueueAcceptsNoneUntilAWaiterLeaves() {
    let line = Line()
    for number in 1...2 { _ = line.join(waiter(number), limit: 2) }
    #expect(line.join(waiter(3), limit: 2) == .full)
    #expect(line.count == 2)
    line.leave(waiter(1))
    #expect(line.join(waiter(3), limit: 2) == .behind)
    #expect(line.nextTurn() == waiter(2))
  }

  @Test func aWaiterThatHasLeftGetsNoTurn() {
    let line = Line()
    for number in 1...2 { _ = line.join(waiter(number)) }
    #expect(line.nextTurn() == waiter(1))
    line.leave(waiter(1))
    line.takeTurn(waiter(1))
    #expect(line.nextTurn() == waiter(2))
    line.leave(waiter(2))
    #expect(line.count == 0 && line.nextTurn() == nil)
  }

  @Test func aRetryDoesNotBlockOthers() {
    let line = Line()
    #expect(line.join(waiter(1), isRetry: true) == .look)
    #expect(!line.hasNewcomers)
    #expect(line.join(waiter(2)) == .look)
    #expect(line.join(waiter(3)) == .behind)
    #expect(line.join(waiter(4), isRetry: true) == .look)
    #expect(line.hasNewcomers)
    // It gets the first turn, and passes it on if it can't use it.
    #expect(line.nextTurn() == waiter(1))
    line.takeTurn(waiter(1))
    #expect(line.nextTurn(after: waiter(1)) == waiter(2))
    line.leave(waiter(2))
    line.leave(waiter(3))
    #expect(!line.hasNewcomers && line.count == 2)
  }

  /// Four workers with more exchanges than slots, each waiting for a slot as a worker does. If one
  /// wake-up were lost, a round would never end.
  @Test func noSlotIsMissedUnderContention() {
    let pool = TestPool(.roundRobin, [.init(limit: 1), .init(limit: 1)]).pool
    let turns = (0..<4).map { _ in DispatchSemaphore(value: 0) }
    let served = Atomic<Int>(0)
    let waited = Atomic<Int>(0)
    let arrived = Atomic<Int>(0)
    let isStuck = Atomic<Bool>(false)
    let rounds = 400

    @Sendable func passTurn() {
      guard let next = pool.record.line.nextTurn() else { return }
      turns[next.worker].signal()
    }
    @Sendable func work(_ worker: Int) {
      arrived.wrappingAdd(1, ordering: .relaxed)
      while arrived.load(ordering: .relaxed) < 4 { sched_yield() }
      var view = PoolView(pool)
      var generator = RandomGenerator(seed: UInt64(worker))
      func look() -> Pick? {
        var selection = Selection()
        return try? selection.next(in: &view, client: nil, at: .origin, generator: &generator)
      }
      for round in 0..<rounds where !isStuck.load(ordering: .relaxed) {
        // New exchanges queue behind those that wait.
        var pick = pool.record.line.hasNewcomers ? nil : look()
        if pick == nil {
          waited.wrappingAdd(1, ordering: .relaxed)
          let me = Waiter(worker: worker, exchange: UInt64(round))
          if case .look = pool.record.line.join(me, isRetry: false, limit: 9) {
            pool.record.line.takeTurn(me)
            pick = look()
          }
          while pick == nil {
            if turns[worker].wait(timeout: .now() + 60) == .timedOut {
              isStuck.store(true, ordering: .relaxed)
              return
            }
            pool.record.line.takeTurn(me)
            pick = look()
          }
          pool.record.line.leave(me)
          passTurn()
        }
        served.wrappingAdd(1, ordering: .relaxed)
        // Let the others find the slot taken, on any number of processors; continue if there is no
        // other.
        for _ in 0..<100 where pool.record.line.count == 0 { sched_yield() }
        pick?.release()
        passTurn()
      }
    }
    // Separate threads: a dispatch queue would run only as many at once as there are processors.
    let finished = DispatchSemaphore(value: 0)
    for worker in 0..<4 {
      Thread.detachNewThread {
        work(worker)
        finished.signal()
      }
    }
    for _ in 0..<4 { finished.wait() }
    let (wasStuck, total) = (isStuck.load(ordering: .relaxed), served.load(ordering: .relaxed))
    #expect(!wasStuck, "a place came free, and nobody was told")
    #expect(total == 4 * rounds)
    let waitedCount = waited.load(ordering: .relaxed)
    #expect(waitedCount > 100, "nobody had to wait: this shows nothing")
    let left = pool.record.line.count
    #expect(left == 0)
  }
}
