// How many records without data a client may send per second.

import Primitives
import Testing

@testable import Server

@Suite struct ControlRecordRateTests {
  private let start = Instant(nanoseconds: 5_000_000_000)

  @Test func `a hundred per second are allowed, and one more isn't`() {
    var rate = ControlRecordRate()
    let verdicts = (0...100 as ClosedRange<Int64>).map {
      rate.isTooHigh(with: 1, at: start + .milliseconds($0 * 9))
    }
    #expect(verdicts.firstIndex(of: true) == 100)
    let atOnce = ControlRecordRate().isTooHighOnce(with: 101, at: start)
    #expect(atOnce)
  }

  @Test func `the count restarts each second`() {
    var rate = ControlRecordRate()
    let verdicts = (0..<10 as Range<Int64>).map {
      rate.isTooHigh(with: 100, at: start + .seconds($0))
    }
    #expect(!verdicts.contains(true))
  }
}

extension ControlRecordRate {
  fileprivate func isTooHighOnce(with more: Int, at now: Instant) -> Bool {
    var rate = self
    return rate.isTooHigh(with: more, at: now)
  }
}
