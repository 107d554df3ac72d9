// Deadline: moved any number of times, it fires once, never early and never late.

import Primitives
import Testing

@testable import Server

@Suite struct DeadlineTests {
  /// A deadline with its wheel, and the times in milliseconds at which it fired.
  private struct Bench: ~Copyable {
    var deadline = Deadline()
    var timers = TimerWheel(now: .origin)
    var fired: [Int64] = []
    /// How often the wheel has reported, expired or not.
    var reports = 0

    mutating func set(_ milliseconds: Int64?) {
      let instant = milliseconds.map { Instant.origin + .milliseconds($0) } ?? .never
      deadline.set(instant, payload: 7, in: &timers)
    }

    mutating func run(to milliseconds: Int64) {
      let now = Instant.origin + .milliseconds(milliseconds)
      while let payload = timers.next(at: now) {
        reports += 1
        if deadline.fired(at: now, payload: payload, in: &timers) { fired.append(milliseconds) }
      }
    }

    mutating func run(through times: ClosedRange<Int64>) {
      for time in times { run(to: time) }
    }
  }

  /// The wheel's tick: a deadline may be this late.
  private static let tick: Int64 = 4

  @Test func itFiresOnceInItsTime() {
    var bench = Bench()
    bench.set(100)
    bench.run(through: 0...500)
    let fired = bench.fired
    #expect(fired.count == 1 && (100...(100 + Self.tick)).contains(fired[0]))
    let instant = bench.deadline.instant
    #expect(instant == .never)
  }

  @Test func pushingItBackTouchesTheWheelOnceForManyMoves() {
    var bench = Bench()
    for time in 0..<200 as Range<Int64> {
      bench.run(to: time)
      bench.set(time + 100)
    }
    bench.run(through: 200...600)
    let (fired, reports) = (bench.fired, bench.reports)
    #expect(fired.count == 1 && (299...(299 + Self.tick)).contains(fired[0]))
    #expect(reports <= 4)
  }

  @Test func itCanBeMovedEarlier() {
    var bench = Bench()
    bench.set(1000)
    bench.set(50)
    bench.run(through: 0...2000)
    let fired = bench.fired
    #expect(fired.count == 1 && (50...(50 + Self.tick)).contains(fired[0]))
  }

  @Test func movedLaterAndThenEarlierItKeepsToTheLast() {
    var bench = Bench()
    bench.set(100)
    bench.set(1000)
    bench.set(40)
    bench.set(60)
    bench.run(through: 0...2000)
    let fired = bench.fired
    #expect(fired.count == 1 && (60...(60 + Self.tick)).contains(fired[0]))
  }

  @Test func aDeadlineOfNeverDoesNotFireAndCanBeSetAgain() {
    var bench = Bench()
    bench.set(100)
    bench.set(nil)
    bench.run(through: 0...200)
    var fired = bench.fired
    #expect(fired.isEmpty)
    bench.set(300)
    bench.run(through: 201...400)
    fired = bench.fired
    #expect(fired.count == 1)
  }

  @Test func aCancelledOneLeavesNothingInTheWheel() {
    var bench = Bench()
    bench.set(100)
    bench.deadline.cancel(in: &bench.timers)
    bench.deadline.cancel(in: &bench.timers)
    var count = bench.timers.count
    #expect(count == 0)
    bench.set(nil)
    count = bench.timers.count
    #expect(count == 0)
  }

  @Test func itAgreesWithASimpleModelWhateverIsDone() {
    var generator = RandomGenerator(seed: 4)
    var bench = Bench()
    var due: Int64?
    var expected = 0
    for time in 0..<60_000 as Range<Int64> {
      bench.run(to: time)
      let fired = bench.fired
      if fired.count > expected {
        #expect(fired.count == expected + 1 && due.map { time >= $0 } == true, "early at \(time)")
        expected = fired.count
        due = nil
      }
      if let late = due { #expect(time <= late + Self.tick, "late at \(time)") }
      switch generator.next(below: 100) {
      case 0:
        due = time + Int64(generator.next(below: 150))
        bench.set(due)
      case 1:
        due = nil
        bench.set(nil)
      case 2 where generator.chance(1, in: 8):
        due = nil
        bench.deadline.cancel(in: &bench.timers)
      default:
        break
      }
      let count = bench.timers.count
      #expect(count <= 1)
    }
    #expect(expected > 100)
  }
}
