// What the workers pick from between two health changes: the members that are eligible now, in an
// order that is computed once.
//
// A rotation is immutable and has one version; a health change makes a new one (Pool). It may be
// slightly older than the records, so each pick checks the record again: `Tier.reserve`.

import Primitives

/// The eligible members of a pool, in one version.
final class Rotation: Sendable {
  let version: UInt64
  let membership: Membership
  /// The primary members.
  let primaries: Tier
  /// Members that are used while no primary is available.
  let backups: Tier
  /// When the next step of a slow start needs a new rotation, without a new version.
  let nextStepAt: Instant

  init(
    _ membership: Membership, pool: PoolRecord, strategy: Strategy, slowStart: SlowStart?,
    version: UInt64, at now: Instant
  ) {
    self.version = version
    self.membership = membership
    let slowStart = strategy.isSticky ? nil : slowStart
    primaries = Tier(
      membership.primaries, of: membership, areBackups: false, pool: pool, strategy: strategy,
      slowStart: slowStart, at: now)
    backups = Tier(
      membership.backups, of: membership, areBackups: true, pool: pool, strategy: strategy,
      slowStart: slowStart, at: now)
    nextStepAt = min(primaries.nextStepAt, backups.nextStepAt)
  }

  var isAnyEligible: Bool { !primaries.eligible.isEmpty || !backups.eligible.isEmpty }

  /// Whether a healthy member is left that wasn't tried, even if it is full.
  func hasEligible(besides tried: TriedSet) -> Bool {
    (primaries.eligible + backups.eligible).contains {
      let record = membership.members[$0.index].record
      return !tried.contains(record.id) && record.isEnabled && record.health.state.isAvailable
    }
  }
}

/// Members among which a strategy chooses: the primaries or the backups.
final class Tier: Sendable {
  let members: [Member]
  /// The indices of all members of this tier.
  let configured: [Int]
  /// The members that are enabled and healthy, with their current weights.
  let eligible: [Candidate]
  /// When the first step of a slow start among them ends.
  let nextStepAt: Instant
  /// One period of the eligible members: smooth by weight, or in plain order if the strategy
  /// ignores weights.
  let sequence: [Candidate]
  /// Members that are ejected or due for a trial, and when the first trial may begin.
  let ejected: [Int]
  let firstTrial: Instant
  /// The table of all configured members, for strategies that keep a client on the same member.
  let table: [Int]

  private let areBackups: Bool
  private let pool: PoolRecord

  init(
    _ configured: [Int], of membership: Membership, areBackups: Bool, pool: PoolRecord,
    strategy: Strategy, slowStart: SlowStart?, at now: Instant
  ) {
    let members = membership.members
    var eligible: [Candidate] = []
    var ejected: [Int] = []
    var firstTrial = Instant.never
    for index in configured {
      let record = members[index].record
      if !record.isEnabled { continue }
      let health = record.health.state
      if health.isAvailable {
        let weight = strategy.usesWeights ? members[index].currentWeight : 1
        eligible.append(Candidate(index: index, weight: weight))
      } else if health.isEjected {
        ejected.append(index)
        firstTrial = min(firstTrial, health.ejectedUntil)
      }
    }
    nextStepAt =
      slowStart.map { Self.scale(&eligible, of: members, by: $0, at: now) } ?? .never
    self.members = members
    self.configured = configured
    self.eligible = eligible
    self.ejected = ejected
    self.firstTrial = firstTrial
    self.areBackups = areBackups
    self.pool = pool
    table = areBackups ? membership.backupTable : membership.primaryTable
    sequence =
      strategy.usesSequence(among: eligible.count) ? SmoothSequence.period(of: eligible) : []
  }

  /// Lowers the weights of members in slow start relative to the others; returns when the first
  /// step ends.
  private static func scale(
    _ candidates: inout [Candidate], of members: [Member], by slowStart: SlowStart, at now: Instant
  ) -> Instant {
    var nextStepAt = Instant.never
    let tenths = candidates.map { candidate in
      let returnedAt = members[candidate.index].record.returnedAt
      guard let tenths = slowStart.tenths(returnedAt: returnedAt, at: now) else { return nil }
      nextStepAt = min(nextStepAt, slowStart.end(ofStep: tenths, returnedAt: returnedAt))
      return tenths
    } as [Int?]
    // If all of them have just come back, or there is only one, no other member can take the load.
    if tenths.allSatisfy({ $0 != nil }) || nextStepAt == .never { return nextStepAt }
    candidates = zip(candidates, tenths).map { candidate, tenths in
      Candidate(
        index: candidate.index, weight: candidate.weight * (tenths ?? SlowStart.stepCount))
    }
    return nextStepAt
  }

  /// A number below `count`, in rotation. No other pick in the process gets the same ticket.
  func turn(of count: Int) -> Int {
    Int(pool.nextTicket(ofBackups: areBackups) % UInt64(count))
  }

  /// Reserves a slot on a member if it is enabled, healthy, not full and not excluded.
  func reserve(_ index: Int, excluding tried: TriedSet, at now: Instant, trial: Bool) -> Pick? {
    let record = members[index].record
    if tried.contains(record.id) || !record.isEnabled { return nil }
    switch record.health.state.standing(at: now) {
    case .available:
      return take(index, isTrial: false)
    case .onTrial where trial:
      // The slot first, so that a claim never has to be undone.
      guard let pick = take(index, isTrial: true) else { return nil }
      if record.health.update({ $0.claimTrial(at: now) }) { return pick }
      record.release()
      return nil
    case .onTrial, .beingTried, .ejected, .down:
      return nil
    }
  }

  /// Reserves a slot on a member that is enabled and not full, whatever its health.
  func reserveUnhealthy(_ index: Int, excluding tried: TriedSet) -> Pick? {
    let record = members[index].record
    if tried.contains(record.id) || !record.isEnabled { return nil }
    var pick = take(index, isTrial: false)
    pick?.isFailOpen = true
    return pick
  }

  private func take(_ index: Int, isTrial: Bool) -> Pick? {
    let member = members[index]
    guard member.record.tryReserve(limit: member.maxConnections) else { return nil }
    return Pick(index: index, member: member, isTrial: isTrial)
  }
}
