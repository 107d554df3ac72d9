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

  /// A simple queue without an index, for comparison.
  private struct PlainLine {
    var places: [(waiter: Waiter, isRetry: Bool, hasTurn: Bool)] = []

    mutating func join(_ waiter: Waiter, isRetry: Bool) -> Bool {
      defer { places.append((waiter, isRetry, false)) }
      return isRetry || places.allSatisfy(\.isRetry)
    }
    mutating func nextTurn(after waiter: Waiter?) -> Waiter? {
      let start = places.firstIndex { $0.waiter == waiter }.map { $0 + 1 } ?? 0
      guard let next = places[start...].firstIndex(where: { !$0.hasTurn }) else { return nil }
      places[next].hasTurn = true
      return places[next].waiter
    }
    mutating func takeTurn(_ waiter: Waiter) {
      if let index = places.firstIndex(where: { $0.waiter == waiter }) {
        places[index].hasTurn = false
      }
    }
    mutating func leave(_ waiter: Waiter) { places.removeAll { $0.waiter == waiter } }
  }

  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func itDoesWhatAPlainListDoes(seed: UInt64) {
    var generator = RandomGenerator(seed: seed)
    let line = Line()
    var plain = PlainLine()
    var number = 0
    // Phases of growth and of decline, so that the slots are filled and emptied.
    for step in 0..<20_000 {
      let grows = step / 2500 % 2 == 0
      let someone =
        plain.places.isEmpty
        ? waiter(0) : plain.places[generator.next(below: plain.places.count)].waiter
      switch generator.next(below: grows ? 10 : 14) {
      case 0..<5:
        number += 1
        let isRetry = generator.chance(1, in: 3)
        let joining = line.join(waiter(number), isRetry: isRetry, limit: .max)
        let isFree = plain.join(waiter(number), isRetry: isRetry)
        #expect(joining == (isFree ? .look : .behind))
      case 5, 6:
        let former = generator.chance(1, in: 2) ? someone : nil
        let expected = plain.nextTurn(after: former)
        #expect(line.nextTurn(after: former) == expected)
      case 7:
        line.takeTurn(someone)
        plain.takeTurn(someone)
      default:
        line.leave(someone)
        plain.leave(someone)
      }
      let (count, hasNewcomers) = (plain.places.count, !plain.places.allSatisfy(\.isRetry))
      #expect(line.count == count && line.hasNewcomers == hasNewcomers)
    }
  }

  /// The minimum time to enter and leave a queue of this length.
  private func time(behind count: Int) -> Duration {
    let line = Line()
    for number in 1...count { _ = line.join(waiter(number), limit: .max) }
    var number = count
    var least = Duration.seconds(1000)
    for _ in 0..<200 {
      let took = ContinuousClock().measure {
        for _ in 0..<20 {
          number += 1
          _ = line.join(waiter(number), limit: .max)
          if let next = line.nextTurn() {
            line.takeTurn(next)
            line.leave(next)
          }
        }
      }
      least = min(least, took)
    }
    return least
  }

  @Test func aLongLineTakesAboutAsLongAsAShortOne() {
    let few = time(behind: 10)
    let many = time(behind: 100_000)
    #expect(many < few * 20, "\(many) against \(few)")
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
