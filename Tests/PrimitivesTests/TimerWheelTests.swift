// TimerWheel compared with a plain list of deadlines: no timer fires early or more than a tick
// late, and nextDeadline is never too late.

import Primitives
import Testing

@Suite struct TimerWheelTests {
  private static let tick: UInt64 = 4_000_000

  @Test func aTimerFiresOnceAtItsTickAndNotBefore() {
    var wheel = TimerWheel(now: .origin)
    _ = wheel.schedule(Instant(nanoseconds: 10_000_000), payload: 7)
    let early = wheel.next(at: Instant(nanoseconds: 11_999_999))
    let due = wheel.next(at: Instant(nanoseconds: 12_000_000))
    let again = wheel.next(at: .origin + .seconds(100))
    #expect(early == nil && due == 7 && again == nil)
  }

  @Test func aDeadlineInThePastFiresAtOnce() {
    let now = Instant(nanoseconds: 1_000_000_000)
    var wheel = TimerWheel(now: now)
    _ = wheel.schedule(.origin, payload: 1)
    let wake = wheel.nextDeadline
    let fired = wheel.next(at: now)
    #expect(wake.map { $0 <= now } == true && fired == 1)
  }

  @Test func aCancelledTimerNeverFires() {
    var wheel = TimerWheel(now: .origin)
    let timer = wheel.schedule(.origin + .seconds(1), payload: 1)
    wheel.cancel(timer)
    let (fired, count, wake) = (
      wheel.next(at: .origin + .seconds(10)), wheel.count, wheel.nextDeadline
    )
    #expect(fired == nil && count == 0 && wake == nil)
  }

  @Test func aTimerFiresAtTheDeadlineItWasMovedTo() {
    var wheel = TimerWheel(now: .origin)
    let timer = wheel.schedule(.origin + .seconds(1), payload: 1)
    wheel.reschedule(timer, to: .origin + .seconds(1_000))
    let early = wheel.next(at: .origin + .seconds(999))
    let due = wheel.next(at: .origin + .seconds(1_000))
    #expect(early == nil && due == 1)
  }

  @Test func aTimerForNeverStaysWithoutHarm() {
    var wheel = TimerWheel(now: .origin)
    _ = wheel.schedule(.never, payload: 1)
    let fired = wheel.next(at: .origin + .seconds(100_000))
    let wake = wheel.nextDeadline
    #expect(fired == nil && wake != nil)
  }

  /// Deadlines at and around the borders of each level, from different positions of the wheel.
  @Test func deadlinesAtTheBordersOfLevelsFireOnTheirTick() {
    for start: UInt64 in [0, 1, 63, 64, 100, 4_095, 4_096, 262_143] {
      for span: UInt64 in [0, 1, 62, 63, 64, 65, 127, 128, 4_031, 4_095, 4_096, 4_097, 262_144] {
        let now = Instant(nanoseconds: start * Self.tick)
        var wheel = TimerWheel(now: now)
        let deadline = Instant(nanoseconds: (start + span) * Self.tick)
        _ = wheel.schedule(deadline, payload: 1)
        if span > 0 {
          let early = wheel.next(at: deadline + .nanoseconds(-1))
          #expect(early == nil, "start \(start) span \(span)")
        }
        let due = wheel.next(at: deadline)
        #expect(due == 1, "start \(start) span \(span)")
      }
    }
  }

  @Test func deadlinesBeyondTheWheelsReachFireOnTheirTick() {
    for hours: Int64 in [18, 19, 40, 75] {
      var wheel = TimerWheel(now: Instant(nanoseconds: 12_345_678_901))
      let deadline = Instant(nanoseconds: 12_348_000_000) + .seconds(hours * 3_600)
      _ = wheel.schedule(deadline, payload: 1)
      let (fired, steps) = Self.sleepUntilFired(&wheel)
      #expect(fired == deadline, "\(hours) h")
      #expect(steps < 200, "too many wake-ups")
    }
  }

  /// Sleeps from one nextDeadline to the next; returns when the first timer fires.
  private static func sleepUntilFired(_ wheel: inout TimerWheel) -> (Instant?, steps: Int) {
    var steps = 0
    while let wake = wheel.nextDeadline {
      steps += 1
      if wheel.next(at: wake) != nil { return (wake, steps) }
      if steps == 100_000 { break }
    }
    return (nil, steps)
  }

  @Test(arguments: 0..<24 as Range<UInt64>)
  func itAgreesWithAPlainList(seed: UInt64) {
    var generator = RandomGenerator(seed: seed)
    var now = Instant(nanoseconds: generator.next() >> 20)
    var wheel = TimerWheel(now: now)
    var deadlines: [UInt64: (timer: TimerID, deadline: Instant)] = [:]
    var nextPayload: UInt64 = 0
    for _ in 0..<1_500 {
      switch generator.next(below: 10) {
      case 0..<5:
        let deadline = now + Self.span(&generator)
        deadlines[nextPayload] = (wheel.schedule(deadline, payload: nextPayload), deadline)
        nextPayload += 1
      case 5:
        if let (payload, entry) = Self.anyone(of: deadlines, &generator) {
          wheel.cancel(entry.timer)
          deadlines[payload] = nil
        }
      case 6:
        if let (payload, entry) = Self.anyone(of: deadlines, &generator) {
          let deadline = now + Self.span(&generator)
          wheel.reschedule(entry.timer, to: deadline)
          deadlines[payload] = (entry.timer, deadline)
        }
      case 7:
        if let wake = wheel.nextDeadline { now = max(now, wake) }
      default:
        now = now + .nanoseconds(abs(Self.span(&generator).nanoseconds) / 8)
      }
      while let payload = wheel.next(at: now) {
        let entry = deadlines.removeValue(forKey: payload)
        #expect(entry.map { $0.deadline <= now } == true, "fired early, twice or after cancelling")
      }
      Self.checkRest(wheel, deadlines.values.map(\.deadline), at: now)
    }
  }

  /// From milliseconds to more than the wheel's 18 hours, sometimes in the past.
  private static func span(_ generator: inout RandomGenerator) -> TimeSpan {
    let limits = [10_000_000, 300_000_000, 20_000_000_000, 1_200_000_000_000, 100_000_000_000_000]
    let magnitude = generator.chance(1, in: 20) ? 4 : generator.next(below: 4)
    let span = TimeSpan.nanoseconds(Int64(generator.next(below: limits[magnitude])))
    return generator.chance(1, in: 20) ? span * -1 : span
  }

  private static func anyone(
    of deadlines: [UInt64: (timer: TimerID, deadline: Instant)],
    _ generator: inout RandomGenerator
  ) -> (UInt64, (timer: TimerID, deadline: Instant))? {
    if deadlines.isEmpty { return nil }
    let payloads = deadlines.keys.sorted()
    let payload = payloads[generator.next(below: payloads.count)]
    return deadlines[payload].map { (payload, $0) }
  }

  private static func checkRest(
    _ wheel: borrowing TimerWheel, _ rest: [Instant], at now: Instant
  ) {
    let (count, wake) = (wheel.count, wheel.nextDeadline)
    #expect(count == rest.count)
    guard let first = rest.min() else {
      #expect(wake == nil)
      return
    }
    let lastTick = now.nanoseconds / tick * tick
    #expect(first.nanoseconds > lastTick, "left behind")
    let firstTick = (first.nanoseconds + tick - 1) / tick * tick
    #expect(wake.map { $0.nanoseconds <= firstTick } == true, "oversleeps")
    #expect(wake.map { $0 > Instant(nanoseconds: lastTick) } == true, "spins")
  }
}
