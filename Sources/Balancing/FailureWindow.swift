// The failure rates of a pool's members over the last seconds. They eject a backend that fails
// often but not several times in a row, such as one that fails every other request.
//
// It is used only after a failed attempt. It keeps the counts at the window's beginning and
// subtracts them, so that a success costs nothing extra. Pools of two to five members are too small
// for standard deviations. An outlier has enough requests, a high failure rate, and at least twice
// the rate of all others together. If all members fail alike, the cause is behind them or in the
// requests, and an ejection would only add load to the others.

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

    /// Adds what was counted since `beginning`.
    mutating func add(_ record: BackendRecord, since beginning: Counts) {
      successes += record.successCount - beginning.successes
      failures += record.failureCount - beginning.failures
    }
  }

  private var startedAt = Instant.origin
  /// The counts at the window's beginning, by member index; empty before the first failure.
  private var beginnings: [Counts] = []

  /// Starts a new window when the current one is over. The first failure of a pool starts the first
  /// window, so earlier exchanges are not in it.
  mutating func advance(_ members: [Member], _ span: TimeSpan, to now: Instant) {
    if beginnings.count == members.count && now - startedAt < span { return }
    startedAt = now
    beginnings = members.map { Counts(of: $0.record) }
  }

  /// Resets the counts of one member, after it was ejected for them.
  mutating func forget(_ index: Int, _ record: BackendRecord) {
    if index < beginnings.count { beginnings[index] = Counts(of: record) }
  }

  /// Whether the member fails often enough, and much more often than the others.
  func isOutlier(_ index: Int, _ members: [Member], _ policy: HealthPolicy) -> Bool {
    guard let percent = policy.failurePercent, index < beginnings.count else { return false }
    var own = Counts()
    own.add(members[index].record, since: beginnings[index])
    // Without division: failures / total >= percent / 100, and >= 2 * the others' failures / total.
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
