// The failure rates of a pool's members over the last seconds, for an ejection that a row of
// failures doesn't lead to: a backend that fails every other request never fails five in a row.
//
// Only looked at when an attempt has failed. It keeps the counts at the window's beginning and
// subtracts, so that a success costs nothing more than its count. What an outlier is in a pool of
// two to five has nothing to do with standard deviations: enough requests, a high rate, and at
// least twice that of all others together. Where all fail alike the cause is behind them, or in
// the requests, and ejecting anybody would only crowd the rest.

import Primitives

struct FailureWindow: Sendable {
  private struct Counts {
    var successes: UInt64 = 0
    var failures: UInt64 = 0

    init() {}

    init(of record: BackendRecord) {
      successes = record.successCount
      failures = record.failureCount
    }

    var total: UInt64 { successes + failures }

    /// What came since `beginning`.
    mutating func add(_ record: BackendRecord, since beginning: Counts) {
      successes += record.successCount - beginning.successes
      failures += record.failureCount - beginning.failures
    }
  }

  private var startedAt = Instant.origin
  /// The counts at the beginning, by the index of the member; empty before the first failure.
  private var beginnings: [Counts] = []

  /// Begins anew when its time is over. The first failure of a pool starts it, so the exchanges
  /// before that one are not in it.
  mutating func advance(_ members: [Member], _ span: TimeSpan, to now: Instant) {
    if beginnings.count == members.count && now - startedAt < span { return }
    startedAt = now
    beginnings = members.map { Counts(of: $0.record) }
  }

  /// Forgets what a member did so far, for one that was ejected for it.
  mutating func forget(_ index: Int, _ record: BackendRecord) {
    if index < beginnings.count { beginnings[index] = Counts(of: record) }
  }

  /// Whether the member fails often enough, and far more often than the others.
  func isOutlier(_ index: Int, _ members: [Member], _ policy: HealthPolicy) -> Bool {
    guard let percent = policy.failurePercent, index < beginnings.count else { return false }
    var own = Counts()
    own.add(members[index].record, since: beginnings[index])
    // failures / total >= percent / 100, and >= 2 * the others' failures / total; not divided.
    if own.total < UInt64(policy.failureRequestCount)
      || own.failures * 100 < UInt64(percent) * own.total
    {
      return false
    }
    var others = Counts()
    for position in members.indices where position != index {
      others.add(members[position].record, since: beginnings[position])
    }
    return own.failures * others.total >= 2 * others.failures * own.total
  }
}
