// RetryBudget: a fifth of the current exchanges, at least three, and only for counted retries.

import Foundation
import Primitives
import Synchronization
import Testing

@testable import Balancing

@Suite struct RetryBudgetTests {
  private func charged(_ view: PoolView, _ tries: Int, after cause: FailureCause) -> Int {
    (0..<tries).count { _ in view.chargeRetry(after: cause) == .charged }
  }

  @Test func aQuietPoolMayRetryThreeTimesAtOnce() {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    #expect(charged(pool.view, 10, after: .responseTimeout) == 3)
    pool.pool.refundRetry()
    #expect(charged(pool.view, 10, after: .status(503)) == 1)
  }

  @Test func aBusyPoolMayRetryAFifthOfItsExchanges() throws {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    for _ in 0..<100 { _ = try pool.pick() }
    #expect(charged(pool.view, 100, after: .responseTimeout) == 20)
    #expect(pool.pool.record.retryCount == 20)
  }

  @Test(arguments: [
    FailureCause.connectRefused, .connectTimeout, .connectFailed, .resetBeforeResponse,
    .closedBeforeResponse, .tlsUntrusted, .tlsAlert(48), .tlsTimeout,
  ])
  func deadConnectionsAreExempt(cause: FailureCause) {
    let pool = TestPool(.roundRobin, weights: [1, 1])
    _ = charged(pool.view, 3, after: .responseTimeout)
    #expect(pool.view.chargeRetry(after: .responseTimeout) == .refused)
    #expect(pool.view.chargeRetry(after: cause) == .exempt)
  }

  @Test func anUnlimitedBudgetRefusesNothing() {
    let pool = TestPool(.roundRobin, [.init()], budget: .unlimited)
    #expect(charged(pool.view, 1_000, after: .responseTimeout) == 1_000)
  }

  @Test func theBudgetIsTrueForAllWorkersTogether() {
    let pool = TestPool(.roundRobin, weights: [1]).pool
    let most = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      let view = PoolView(pool)
      for _ in 0..<5_000 where view.chargeRetry(after: .responseTimeout) == .charged {
        most.max(pool.record.retryCount, ordering: .relaxed)
        pool.refundRetry()
      }
    }
    #expect(most.load(ordering: .relaxed) <= 3)
    #expect(pool.record.retryCount == 0)
  }
}
