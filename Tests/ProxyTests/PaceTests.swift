// The minimum rate of clients: the time per byte, when time counts, and when it is used up.

import Balancing
import Primitives
import Testing

@testable import Proxy

@Suite struct PaceTests {
  /// 1000 bytes per second: one millisecond per byte.
  private static let rate = MinimumRate(bytesPerSecond: 1000, grace: .milliseconds(500))

  /// A pace and its client; times are in milliseconds.
  private struct Bench {
    var pace = Pace()

    mutating func update(_ time: Int64, _ byteCount: UInt64, awaited: Bool = true) {
      pace.update(
        byteCount: byteCount, isAwaited: awaited, rate: PaceTests.rate, at: Script.at(time))
    }

    var lateAt: Int64? {
      pace.lateAt.map { ($0 - Instant.origin).milliseconds }
    }
  }

  @Test func aSilentClientIsLateAfterTheGraceTime() {
    var bench = Bench()
    #expect(bench.lateAt == nil)
    bench.update(100, 0)
    #expect(bench.lateAt == 600)
    bench.update(400, 0)
    #expect(bench.lateAt == 600)
  }

  @Test func aByteNowAndThenBuysItsOwnTimeAndNoMore() {
    var bench = Bench()
    bench.update(0, 0)
    for index in 1...10 as ClosedRange<Int64> { bench.update(index * 50, UInt64(index)) }
    #expect(bench.lateAt == 510)
  }

  @Test func aClientAtTheRateIsNeverLate() {
    var bench = Bench()
    bench.update(0, 0)
    for index in 1...1000 as ClosedRange<Int64> {
      bench.update(index * 100, UInt64(index) * 100)
      #expect(bench.lateAt == index * 100 + 500)
    }
  }

  @Test func aBurstIsNoCreditForALongerSilence() {
    var bench = Bench()
    bench.update(0, 0)
    bench.update(10, 1_000_000_000_000)
    #expect(bench.lateAt == 510)
  }

  @Test func theClockStopsWhileAnotherSideIsWaitedFor() {
    var bench = Bench()
    bench.update(0, 0)
    bench.update(300, 0, awaited: false)
    #expect(bench.lateAt == nil)
    bench.update(10_000, 0, awaited: false)
    bench.update(20_000, 0)
    #expect(bench.lateAt == 20_200)
  }

  @Test func bytesThatComeMeanwhileGiveTimeBackToo() {
    var bench = Bench()
    bench.update(0, 0)
    bench.update(300, 0, awaited: false)
    bench.update(310, 100)
    #expect(bench.lateAt == 610)
  }

  // MARK: In an exchange

  private static let limits = {
    var limits = Script.limits
    limits.clientIdle = .milliseconds(5000)
    limits.idle = .milliseconds(5000)
    limits.clientRate = rate
    return limits
  }()

  private func uploading() -> Exchange {
    var exchange = Exchange(startedAt: .origin, isIdempotent: false)
    _ = exchange.handle(.routed(collectsUntil: nil), at: .origin)
    _ = exchange.handle(
      .attemptStarted(backend: 1, isReused: true, isFailOpen: false), at: .origin)
    return exchange
  }

  @Test func aClientThatDripsItsBodyGets408LongBeforeItIsIdle() {
    var exchange = uploading()
    for time in stride(from: 0, to: 500, by: 100) as StrideTo<Int64> {
      exchange.bodyReceived(0, awaitsMore: true, Self.limits, at: Script.at(time))
      exchange.progressed(at: Script.at(time))
    }
    let deadline = exchange.deadline(Self.limits, awaiting: .client)
    let before = exchange.expiry(Self.limits, awaiting: .client, at: Script.at(499))
    let then = exchange.expiry(Self.limits, awaiting: .client, at: Script.at(500))
    #expect(deadline == Script.at(500))
    #expect(before == nil && then == .client(.requestTimeout))
  }

  @Test func aBackendThatTakesTheBodySlowlyIsNoFaultOfTheClient() {
    var exchange = uploading()
    exchange.bodyReceived(0, awaitsMore: true, Self.limits, at: Script.at(0))
    exchange.bodyReceived(100_000, awaitsMore: false, Self.limits, at: Script.at(10))
    let deadline = exchange.deadline(Self.limits, awaiting: .backend)
    #expect(deadline == Script.at(5000))
  }

  @Test func anAnswerInAdvanceDoesNotFreeTheClient() {
    var exchange = uploading()
    exchange.bodyReceived(0, awaitsMore: true, Self.limits, at: Script.at(0))
    _ = exchange.handle(.head(status: 200, retry: nil), at: Script.at(1))
    let expiry = exchange.expiry(Self.limits, awaiting: .backend, at: Script.at(500))
    #expect(expiry == .client(.requestTimeout))
  }

  @Test func aCompleteBodyHasNoMinimumRate() {
    var exchange = uploading()
    exchange.bodyReceived(0, awaitsMore: true, Self.limits, at: Script.at(0))
    _ = exchange.handle(.requestEnded, at: Script.at(100))
    exchange.bodyReceived(10, awaitsMore: true, Self.limits, at: Script.at(400))
    let deadline = exchange.deadline(Self.limits, awaiting: .client)
    #expect(deadline == Script.at(1100))
  }
}
