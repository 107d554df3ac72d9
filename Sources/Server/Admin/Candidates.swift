// The backends of a pool for `martlet explain`: those first that the next exchange may get, each
// with why it would be selected or not.

import Balancing
import Primitives

extension Pool {
  /// `carried` is what the pool carries: requests or connections.
  func candidates(
    _ check: ActiveCheck?, carried: String, at now: Instant
  ) -> [(member: Member, verdict: String)] {
    let (states, isPanicking) = levels(at: now)
    let judged = membership.members.map { member -> (rank: Int, Member, String) in
      let record = member.record
      let condition = BackendCondition(record, at: now)
      let isFull = member.maxConnections.map { record.activeCount >= $0 } ?? false
      switch condition {
      case .up where isFull: return (2, member, "full")
      case .up:
        let state = states.first { $0.tier == member.tier && contains(member, $0) }
        guard let state else { return (0, member, "available") }
        return verdict(member, in: state, of: states, carried: carried)
      case .trial:
        let one = carried.dropLast()
        return (0, member, "on trial: gets one \(one); if it succeeds, the backend is up")
      case .down where isPanicking:
        return (0, member, "down, but used: too few backends are healthy (panic-percent)")
      case .ejected where isPanicking:
        return (0, member, "ejected, but used: too few backends are healthy (panic-percent)")
      case .down:
        let reason = record.failedCheck(check).map { ": \($0)" } ?? ""
        return (3, member, "down: its checks fail\(reason)")
      case .ejected: return (3, member, "ejected: \(carried) to it failed")
      case .draining, .disabled, .unresolved:
        return (4, member, "\(condition.rawValue) by an operator")
      }
    }
    let sorted = judged.enumerated().sorted {
      ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset)
    }
    return sorted.map { ($0.element.1, $0.element.2) }
  }

  private func contains(_ member: Member, _ state: LevelState) -> Bool {
    let isNear = !failover.zone.isEmpty && member.zone == failover.zone
    return state.isNear.map { $0 == isNear } ?? true
  }

  private func verdict(
    _ member: Member, in state: LevelState, of states: [LevelState], carried: String
  ) -> (rank: Int, Member, String) {
    if state.share > 0.9999 { return (0, member, "available") }
    let zone = state.isNear.map { $0 ? ", own zone," : ", other zones," } ?? ""
    if state.share > 0 {
      let percent = Int((state.share * 100).rounded())
      let level = "tier \(member.tier)\(zone)"
      return (0, member, "available: \(level) gets \(percent) % of the \(carried)")
    }
    let isBehindOwnZone =
      state.isNear == false && states.contains { $0.tier == state.tier && $0.share > 0 }
    return isBehindOwnZone
      ? (1, member, "another zone: while too few of the own zone are available")
      : (1, member, "tier \(member.tier): while no earlier one is available")
  }
}
