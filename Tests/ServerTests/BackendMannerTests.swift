// What is remembered of backends with HTTP/2, and how many of their streams may be cancelled.

import Primitives
import Testing

@testable import Server

@Suite struct BackendMannerTests {
  private let now = Instant.origin + .seconds(100)

  @Test func aBackendThatRequiresHTTP1GetsItForSomeTime() {
    var stock = UpstreamStock()
    #expect(!stock.requiresHTTP1(3, at: now))
    stock.requireHTTP1(3, at: now)
    let end = now + UpstreamStock.http1Time
    #expect(stock.requiresHTTP1(3, at: end + .nanoseconds(-1)))
    #expect(!stock.requiresHTTP1(3, at: end) && !stock.requiresHTTP1(4, at: now))
  }

  @Test func aBackendThatAsksForCalmGetsFewerStreamsForSomeTime() {
    var stock = UpstreamStock()
    #expect(stock.streamMax(3, at: now) == .max && !stock.isCalm(3, at: now))
    stock.calm(3, streamCount: 80, at: now)
    #expect(stock.streamMax(3, at: now) == 40 && stock.isCalm(3, at: now))
    #expect(stock.streamMax(4, at: now) == .max)
    let end = now + UpstreamStock.calmTime
    #expect(stock.streamMax(3, at: end) == .max && !stock.isCalm(3, at: end))
    // It is not starved.
    stock.calm(3, streamCount: 1, at: now)
    #expect(stock.streamMax(3, at: now) == 10)
  }

  @Test func nothingIsKnownAboutTheNextBackendWithAnID() {
    var stock = UpstreamStock()
    stock.noteProtocol(3, isHTTP2: false)
    stock.requireHTTP1(3, at: now)
    stock.calm(3, streamCount: 80, at: now)
    stock.forget(3)
    #expect(!stock.speaksHTTP1(3) && !stock.requiresHTTP1(3, at: now))
    #expect(stock.streamMax(3, at: now) == .max)
  }

  @Test func theLastChoiceOfABackendCounts() {
    var stock = UpstreamStock()
    stock.noteProtocol(3, isHTTP2: true)
    #expect(!stock.speaksHTTP1(3))
    stock.noteProtocol(3, isHTTP2: false)
    stock.noteProtocol(3, isHTTP2: false)
    #expect(stock.speaksHTTP1(3) && !stock.speaksHTTP1(4))
    stock.noteProtocol(3, isHTTP2: true)
    #expect(!stock.speaksHTTP1(3))
  }

  /// How many cancels are allowed, at this many per second.
  private func allowed(perSecond: Int64, immediate: Bool = false, atMost: Int = 1000) -> Int {
    var budget = CancelBudget()
    for count in 0..<atMost {
      let time = now + .nanoseconds(Int64(count) * 1_000_000_000 / perSecond)
      if !budget.take(isImmediate: immediate, at: time) { return count }
    }
    return atMost
  }

  @Test func aConnectionHasFewCancelledStreams() {
    #expect(allowed(perSecond: 1_000_000) == 50)
    #expect(allowed(perSecond: 1_000_000, immediate: true) == 12)
    #expect(allowed(perSecond: 1) == 1000)
    #expect((55...65).contains(allowed(perSecond: 6)))
  }

  // MARK: gRPC

  @Test(arguments: [
    ([0, 0, 0, 0, 2, 8, 1], 1), ([0, 0, 0, 0, 0], 0), ([0, 0, 0, 0, 3, 8, 0x81, 1], 129),
    // Unknown fields of each type before and behind it.
    ([0, 0, 0, 0, 6, 18, 2, 1, 1, 8, 1], 1),
    ([0, 0, 0, 0, 11, 25, 1, 1, 1, 1, 1, 1, 1, 1, 8, 1], 1),
    ([0, 0, 0, 0, 7, 29, 1, 1, 1, 1, 8, 2], 2), ([0, 0, 0, 0, 4, 8, 1, 24, 9], 1),
    // Compressed, shorter and longer than it says, cut within a field.
    ([1, 0, 0, 0, 2, 8, 1], nil), ([0, 0, 0, 0, 3, 8, 1], nil), ([0, 0, 0, 0, 1, 8, 1], nil),
    ([], nil), ([0, 0, 0], nil), ([0, 0, 0, 0, 1, 8], nil), ([0, 0, 0, 0, 2, 18, 9], nil),
    ([0, 0, 0, 0, 3, 29, 1, 1], nil), ([0, 0, 0, 0, 1, 11], nil),
    ([0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], nil),
    ([255, 255, 255, 255, 255], nil),
    ([0, 0, 0, 0, 11, 18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], nil),
  ] as [([UInt8], UInt64?)])
  func theStatusOfAServiceIsRead(bytes: [UInt8], status: UInt64?) {
    #expect(GRPCHealth.status(in: bytes) == status)
  }

  @Test func theNameOfAServiceIsWritten() {
    #expect(GRPCHealth.request(service: "") == [0, 0, 0, 0, 0])
    #expect(GRPCHealth.request(service: "ab") == [0, 0, 0, 0, 4, 10, 2, 0x61, 0x62])
    let long = GRPCHealth.request(service: String(repeating: "a", count: 200))
    #expect(long.prefix(8) == [0, 0, 0, 0, 203, 10, 200, 1] && long.count == 208)
  }
}
