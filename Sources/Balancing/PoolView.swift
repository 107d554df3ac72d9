// A worker's own look at a pool: the rotation it last saw. Asking whether it is still the newest
// costs one load of a number that rarely changes, so all workers can share it.

public import Primitives

/// One worker's view of one pool. Never shared between threads.
public struct PoolView {
  public let pool: Pool
  private(set) var rotation: Rotation

  public init(_ pool: Pool) {
    self.pool = pool
    rotation = pool.rotation(at: .origin)
  }

  /// The members that picks from this view are indices of.
  public var members: [Member] { rotation.membership.members }

  /// Takes the newest rotation if there is one, or if a slow start is to go on.
  mutating func refresh(at now: Instant) {
    if rotation.version != pool.record.version || now >= rotation.nextStepAt {
      rotation = pool.rotation(at: now)
    }
  }

  /// The first of these sticky tokens that leads to a member which may be used.
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

  /// Exchanges on the members of this pool, over the whole process. It looks at each of them: for
  /// the retry budget and for metrics.
  public var activeCount: Int {
    rotation.membership.members.reduce(0) { $0 + $1.record.activeCount }
  }

  /// Why a selection found nobody.
  func unavailability(excluding spent: TriedSet) -> Unavailability {
    let members = rotation.membership.members
    if members.isEmpty { return .noMembers }
    let isAnyUp = members.contains { member in
      !spent.contains(member.record.id) && member.record.isEnabled
        && (pool.allDown == .failOpen || member.record.health.state.isAvailable)
    }
    return isAnyUp ? .allFull : .allDown
  }

  /// Whether a member that isn't among `spent` may be used now: healthy or due for its trial, or
  /// any where the pool fails open; one that is full only where exchanges wait.
  func hasMember(besides spent: TriedSet, at now: Instant) -> Bool {
    let members = rotation.membership.members
    let failsOpen = pool.allDown == .failOpen && !rotation.isAnyEligible
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
