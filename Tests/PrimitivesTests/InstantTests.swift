// Instant and TimeSpan: arithmetic saturates and doesn't trap, since spans come from configuration.

import Primitives
import Testing

@Suite struct InstantTests {
  @Test func addingASpanMovesForwardAndBack() {
    let instant = Instant(nanoseconds: 1_000)
    #expect(instant + .nanoseconds(500) == Instant(nanoseconds: 1_500))
    #expect(instant + .nanoseconds(-400) == Instant(nanoseconds: 600))
  }

  @Test func addingSaturatesAtNeverAndAtTheOrigin() {
    #expect(Instant(nanoseconds: .max - 5) + .nanoseconds(5) == .never)
    #expect(Instant(nanoseconds: .max - 5) + .nanoseconds(6) == .never)
    #expect(Instant.never + .seconds(.max) == .never)
    #expect(Instant(nanoseconds: 10) + .nanoseconds(-10) == .origin)
    #expect(Instant(nanoseconds: 10) + .nanoseconds(-11) == .origin)
    #expect(Instant.origin + .nanoseconds(.min) == .origin)
  }

  @Test func theDifferenceIsSignedAndSaturates() {
    let early = Instant(nanoseconds: 100)
    let late = Instant(nanoseconds: 350)
    #expect(late - early == .nanoseconds(250))
    #expect(early - late == .nanoseconds(-250))
    #expect(Instant.never - .origin == .nanoseconds(.max))
    #expect(Instant.origin - .never == .nanoseconds(-.max))
  }

  @Test func instantsAreOrderedByTime() {
    #expect(Instant.origin < Instant(nanoseconds: 1))
    #expect(Instant(nanoseconds: 1) < .never)
  }
}

@Suite struct TimeSpanTests {
  @Test func unitsScaleToNanoseconds() {
    #expect(TimeSpan.microseconds(3).nanoseconds == 3_000)
    #expect(TimeSpan.milliseconds(-2).nanoseconds == -2_000_000)
    #expect(TimeSpan.seconds(300).nanoseconds == 300_000_000_000)
    #expect(TimeSpan.seconds(2).milliseconds == 2_000)
    #expect(TimeSpan.nanoseconds(2_999).microseconds == 2)
  }

  @Test func scalingSaturatesWithTheRightSign() {
    #expect(TimeSpan.seconds(.max) == .nanoseconds(.max))
    #expect(TimeSpan.seconds(.min) == .nanoseconds(.min))
    #expect(TimeSpan.seconds(-10) * .max == .nanoseconds(.min))
    #expect(TimeSpan.seconds(-10) * .min == .nanoseconds(.max))
    #expect(TimeSpan.seconds(10) * 3 == .seconds(30))
    #expect(TimeSpan.zero * .max == .zero)
  }

  @Test func dividingRoundsTowardsZero() {
    #expect(TimeSpan.nanoseconds(7) / 2 == .nanoseconds(3))
    #expect(TimeSpan.nanoseconds(-7) / 2 == .nanoseconds(-3))
  }
}
