// A limit on the retries of a whole pool, so that retries can't overload backends that already
// struggle.
//
// It compares current retries with current exchanges, and counts only retries after a timeout or a
// status. Retries after refused, stale and dead connections are exempt, since `max-attempts` limits
// them: one dead backend of three makes a third of all first attempts fail at once, and a budget
// would turn these into errors without any benefit. A connect timeout counts as a dead connection
// here.

/// How many counted retries a pool may have at a time.
public struct RetryBudget: Equatable, Sendable {
  /// In percent of the current exchanges, including the failing one; default 20.
  public var percent = 20
  /// Always allowed, so that a pool with little traffic can retry at all; default 3.
  public var floor = 3

  public init() {}

  /// No limit.
  public static let unlimited = {
    var budget = RetryBudget()
    budget.floor = .max
    return budget
  }()

  func limit(active: Int) -> Int { max(floor, active * percent / 100) }
}

/// How the budget decides about a retry.
public enum RetryCharge: Sendable {
  /// Not counted: retry.
  case exempt
  /// Counted: retry, and call `Pool.refundRetry` when the attempt has ended.
  case charged
  /// The budget is used up: don't retry.
  case refused
}

extension PoolView {
  /// Asks the budget for a retry after `cause`.
  public func chargeRetry(after cause: FailureCause) -> RetryCharge {
    if !cause.isCharged { return .exempt }
    // Up to the floor, the number of current exchanges doesn't matter; it would take a loop over
    // all members.
    if pool.record.tryBeginRetry(limit: pool.budget.floor) { return .charged }
    let limit = pool.budget.limit(active: activeCount)
    return pool.record.tryBeginRetry(limit: limit) ? .charged : .refused
  }
}

extension Pool {
  /// Releases a counted retry.
  public func refundRetry() { record.endRetry() }
}
