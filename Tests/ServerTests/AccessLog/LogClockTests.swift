// The time in log lines, around the borders of a second, a day and a year.

import Primitives
import Testing

@testable import Server

@Suite struct LogClockTests {
  private func time(_ clock: inout LogClock, _ milliseconds: UInt64) -> String {
    var line = ByteBuffer()
    clock.writeTime(milliseconds * 1_000_000, to: &line)
    return String(decoding: line)
  }

  private func localTime(_ clock: inout LogClock, _ milliseconds: UInt64) -> String {
    var line = ByteBuffer()
    clock.writeLocalTime(milliseconds * 1_000_000, to: &line)
    return String(decoding: line)
  }

  @Test func aNewSecondIsSeenByBothTexts() {
    // The output of `date -u -d @1798761599`.
    let lastOfTheYear: UInt64 = 1_798_761_599_000
    var clock = LogClock()
    var text = time(&clock, lastOfTheYear + 7)
    #expect(text == "2026-12-31T23:59:59.007Z")
    text = time(&clock, lastOfTheYear + 999)
    #expect(text == "2026-12-31T23:59:59.999Z")
    text = localTime(&clock, lastOfTheYear + 999)
    #expect(text == "31/Dec/2026:23:59:59 +0000")
    text = localTime(&clock, lastOfTheYear + 1000)
    #expect(text == "01/Jan/2027:00:00:00 +0000")
    text = time(&clock, lastOfTheYear + 1000)
    #expect(text == "2027-01-01T00:00:00.000Z")
    // The machine's clock may be set back.
    text = time(&clock, 0)
    #expect(text == "1970-01-01T00:00:00.000Z")
  }
}
