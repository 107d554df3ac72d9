// What the workers pick from between two health changes: the members that are eligible now, in an
// order that is computed once, by level.
//
// A rotation is immutable and has one version; a health change makes a new one (Pool).

import Primitives

/// The eligible members of a pool, in one version.
final class Rotation: Sendable {
  let version: UInt64
  let membership: Membership
  /// The level that is used first.
  let first: Level
  /// The others, in order.
  let others: [Level]
  /// How the levels share the exchanges; nil if each is used while those before have no member.
  let shares: LevelShares?
  /// So few members are healthy that health doesn't count.
  let isPanicking: Bool
  /// When the next step of a slow start needs a new rotation, without a new version.
  let nextStepAt: Instant

  init(
    _ membership: Membership, pool: PoolRecord, strategy: Strategy, slowStart: SlowStart?,
    failover: FailoverPolicy = FailoverPolicy(), version: UInt64, at now: Instant
  ) {
    self.version = version
    self.membership = membership
    let slowStart = strategy.isSticky ? nil : slowStart
    let isPanicking = failover.isPanic(membership.members)
    self.isPanicking = isPanicking
    let levels = membership.groups.enumerated().map { place, group in
      Level(
        group, of: membership.members, cursor: pool.cursor(ofLevel: place), strategy: strategy,
        slowStart: slowStart, ignoresHealth: isPanicking, at: now)
    }
    first = levels[0]
    others = Array(levels.dropFirst())
    shares =
      others.isEmpty
      ? nil
      : LevelShares(
        zip(membership.groups, levels).map { group, level in
          LevelShares.Part(
            tier: group.tier, healthy: level.capacity.eligible, all: level.capacity.configured)
        }, failover)
    nextStepAt = levels.reduce(.never) { min($0, $1.nextStepAt) }
  }

  var levels: [Level] { [first] + others }

  var isAnyEligible: Bool { !first.eligible.isEmpty || others.contains { !$0.eligible.isEmpty } }

  /// Whether a healthy member is left that wasn't tried, even if it is full.
  func hasEligible(besides tried: TriedSet) -> Bool {
    levels.contains { level in
      level.eligible.contains {
        let record = membership.members[$0.index].record
        return !tried.contains(record.id) && record.isEnabled
          && (isPanicking || record.health.state.isAvailable)
      }
    }
  }
}
