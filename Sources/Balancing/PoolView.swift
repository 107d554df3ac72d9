// A worker's view of a pool: the rotation it last saw. Checking for a newer one loads one number
// that rarely changes, so all workers can share its cache line.

public import Primitives

/// One worker's view of one pool. Never shared between threads.
public struct PoolView {
  public let pool: Pool
  private(set) var rotation: Rotation

  public init(_ pool: Pool) {
    self.pool = pool
    rotation = pool.rotation(at: .origin)
  }

  /// The members to which the indices of picks from this view refer.
  public var members: [Member] { rotation.membership.members }

  /// Takes the newest rotation if there is one, or if the next step of a slow start is due.
  mutating func refresh(at now: Instant) {
    if rotation.version != pool.record.version || now >= rotation.nextStepAt {
      rotation = pool.rotation(at: now)
    }
  }

  /// The first of these sticky tokens whose member may be used.
  public mutating func living(of tokens: InlineArray<8, UInt64>, at now: Instant) -> UInt64? {
    refresh(at: now)
    for position in tokens.indices {
      guard let index = rotation.membership.index(ofToken: tokens[position]) else { continue }
      let record = rotation.membership.members[index].record
      guard record.isEnabled else { continue }
      switch record.standing(at: now) {
      case .available, .onTrial: return tokens[position]
      case .beingTried, .ejected, .down: continue
      }
    }
    return nil
  }

  /// Current exchanges on the members of this pool, in the whole process. It reads each member's
  /// count; used by the retry budget and for metrics.
  public var activeCount: Int {
    rotation.membership.members.reduce(0) { $0 + $1.record.activeCount }
  }

  /// Why a selection found no member.
  func unavailability(excluding spent: TriedSet) -> Unavailability {
    let members = rotation.membership.members
    if members.isEmpty { return .noMembers }
    let isAnyUp = members.contains { member in
      !spent.contains(member.record.id) && member.record.isEnabled
        && (pool.allDown == .failOpen || rotation.isPanicking
          || member.record.health.state.isAvailable)
    }
    return isAnyUp ? .allFull : .allDown
  }

  /// Whether a member that isn't in `spent` may be used now: one that is healthy or due for its
  /// trial, or any member if the pool fails open. A full member counts only if exchanges can queue.
  func hasMember(besides spent: TriedSet, at now: Instant) -> Bool {
    let members = rotation.membership.members
    let failsOpen =
      rotation.isPanicking || pool.allDown == .failOpen && !rotation.isAnyEligible
    return members.contains { member in
      let record = member.record
      if spent.contains(record.id) || !record.isEnabled { return false }
      let isFull = member.maxConnections.map { record.activeCount >= $0 } ?? false
      if isFull && pool.queueMax == 0 { return false }
      switch record.standing(at: now) {
      case .available, .onTrial: return true
      case .beingTried, .ejected, .down: return failsOpen
      }
    }
  }
}
