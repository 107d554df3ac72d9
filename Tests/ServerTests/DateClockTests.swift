// DateClock: one text per second.

import Testing

@testable import Server

struct DateClockTests {
  @Test func theDateIsThatOfTheSecond() {
    var clock = DateClock()
    let second: UInt64 = 784_111_777 * 1_000_000_000
    for offset: UInt64 in [0, 1, 999_999_999] {
      let text = String(decoding: clock.date(at: second + offset), as: UTF8.self)
      #expect(text == "Sun, 06 Nov 1994 08:49:37 GMT")
    }
    let next = clock.date(at: second + 1_000_000_000)
    #expect(String(decoding: next, as: UTF8.self) == "Sun, 06 Nov 1994 08:49:38 GMT")
    // The clock may be set back.
    #expect(String(decoding: clock.date(at: 0), as: UTF8.self) == "Thu, 01 Jan 1970 00:00:00 GMT")
  }
}
