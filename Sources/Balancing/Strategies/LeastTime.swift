// Least time: of two members drawn by weight, the one that is expected to respond sooner: its
// estimated response time, times the exchanges on it with the new one, per weight.
//
// The estimate follows a slow response at once and fast ones slowly (LatencyEstimate). A member
// without an estimate costs nothing while it is idle and a lot while it is not: it gets one
// exchange at a time until it has responded.

import Primitives

enum LeastTime {
  static func propose(
    step: Int, from level: Level, at now: Instant, _ generator: inout RandomGenerator
  ) -> Int? {
    if step == Strategy.proposalMax { return nil }
    guard let (first, second) = level.pair(&generator) else { return nil }
    // After a refusal, the better one may be the one that refused.
    if step > 0 { return first.index }
    let time = cost(of: first, in: level, at: now) * UInt64(second.weight)
    let other = cost(of: second, in: level, at: now) * UInt64(first.weight)
    return time <= other ? first.index : second.index
  }

  /// 26 bits of time and 20 of exchanges: with a weight it stays below 2^64.
  private static func cost(of candidate: Candidate, in level: Level, at now: Instant) -> UInt64 {
    let active = UInt64(min(level.members[candidate.index].record.activeCount, 1 << 20 - 2))
    let estimate = level.members[candidate.index].record.latency.estimate
    guard let time = estimate.time(at: now) else {
      return active == 0 ? 0 : LatencyEstimate.timeMax * (active + 1)
    }
    return time * (active + 1)
  }
}
