// Responses with faults that a client may have caused: when the backend is blamed for them.

import Primitives
import Testing

@testable import Balancing

@Suite struct FaultTests {
  private let pool = TestPool(.roundRobin, weights: [1, 1])
  private var record: BackendRecord { pool.record("a") }

  @Test func aBackendIsBlamedWhenNothingElseHasComeFromItForAWhile() {
    let start = pool.now
    #expect(!record.isFaultLasting(at: start))
    #expect(!record.isFaultLasting(at: start + .seconds(9)))
    #expect(record.isFaultLasting(at: start + .seconds(10)))
    #expect(record.isFaultLasting(at: start + .seconds(11)))
  }

  @Test func aGoodAnswerBeginsTheTimeAnew() {
    let start = pool.now
    #expect(!record.isFaultLasting(at: start))
    pool.succeed("a", times: 1)
    #expect(!record.isFaultLasting(at: start + .seconds(20)))
    #expect(!record.isFaultLasting(at: start + .seconds(29)))
    #expect(record.isFaultLasting(at: start + .seconds(30)))
    pool.succeed("a", times: 1)
    #expect(!record.isFaultLasting(at: start + .seconds(31)))
  }

  @Test func otherBackendsHaveTheirOwn() {
    #expect(!record.isFaultLasting(at: pool.now))
    #expect(!pool.record("b").isFaultLasting(at: pool.now + .seconds(20)))
    pool.succeed("b", times: 1)
    #expect(record.isFaultLasting(at: pool.now + .seconds(20)))
  }
}
