// A bound on the retries of a whole pool, so that they can't finish off backends that struggle.
//
// It counts retries under way against exchanges under way, and only those that follow a time-out
// or a status. Refused, stale and dead connections are exempt: `max-attempts` bounds them, and one
// dead backend of three fails a third of all first attempts at once, which a budget would turn
// into errors for no one's good. A dial that timed out is a dead connection in this sense.

/// How many charged retries a pool may have under way.
public struct RetryBudget: Equatable, Sendable {
  /// In percent of the exchanges under way, the failing one included; default 20.
  public var percent = 20
  /// Always allowed, so that a quiet pool can retry at all; default 3.
  public var floor = 3

  public init() {}

  /// No bound.
  public static let unlimited = {
    var budget = RetryBudget()
    budget.floor = .max
    return budget
  }()

  func limit(active: Int) -> Int { max(floor, active * percent / 100) }
}

/// What a retry owes the budget.
public enum RetryCharge: Sendable {
  /// Nothing: retry.
  case exempt
  /// Retry, and call `Pool.refundRetry` when the attempt has ended.
  case charged
  /// The budget is spent: give up.
  case refused
}

extension PoolView {
  /// Asks the budget for a retry after `cause`.
  public func chargeRetry(after cause: FailureCause) -> RetryCharge {
    if !cause.isCharged { return .exempt }
    // Up to the floor it doesn't matter how many are under way, which takes a look at every member.
    if pool.record.tryBeginRetry(limit: pool.budget.floor) { return .charged }
    let limit = pool.budget.limit(active: activeCount)
    return pool.record.tryBeginRetry(limit: limit) ? .charged : .refused
  }
}

extension Pool {
  /// Gives a charged retry back.
  public func refundRetry() { record.endRetry() }
}
