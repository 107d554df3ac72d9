// A level of a pool: the members of one tier (or of a tier in one zone) among which a strategy
// chooses, in the version of a rotation. It reserves slots on them.
//
// It may be slightly older than the records, so each pick checks the record again (`reserve`).

import Primitives
import Synchronization

/// Members among which a strategy chooses.
final class Level: Sendable {
  let members: [Member]
  /// The indices of all members of this level; for strategies with affinity by id.
  let configured: [Int]
  /// The members that are enabled and healthy, with their current weights. All that are enabled, if
  /// health doesn't count.
  let eligible: [Candidate]
  /// When the first step of a slow start among them ends.
  let nextStepAt: Instant
  /// One period of the eligible members: smooth by weight, or in plain order if the strategy
  /// ignores weights.
  let sequence: [Candidate]
  /// Members that are ejected or due for a trial, and when the first trial may begin.
  let ejected: [Int]
  let firstTrial: Instant
  /// The tables of all configured members, for strategies that keep a client on the same member.
  let table: [Int]
  let maglev: MaglevTable?
  /// The weights of the members that are eligible, before slow start, and of all.
  let capacity: (eligible: Int, configured: Int)

  /// The exchanges on all members, in the low half, and the millisecond of that count.
  let countedActive = Atomic<UInt64>(0)
  private let cursor: Cursor
  /// Whether members are used whatever their health.
  private let ignoresHealth: Bool

  init(
    _ group: MemberGroup, of members: [Member], cursor: Cursor, strategy: Strategy,
    slowStart: SlowStart?, ignoresHealth: Bool, at now: Instant
  ) {
    func weight(_ index: Int) -> Int { strategy.usesWeights ? members[index].currentWeight : 1 }
    let configured = group.indices
    var eligible: [Candidate] = []
    var ejected: [Int] = []
    var firstTrial = Instant.never
    for index in configured {
      let record = members[index].record
      if !record.isEnabled { continue }
      let health = record.health.state
      if health.isAvailable || ignoresHealth {
        eligible.append(Candidate(index: index, weight: weight(index)))
      }
      if health.isEjected {
        ejected.append(index)
        firstTrial = min(firstTrial, health.ejectedUntil)
      }
    }
    capacity = (
      eligible.reduce(0) { $0 + $1.weight }, configured.reduce(0) { $0 + weight($1) }
    )
    nextStepAt =
      slowStart.map { Self.scale(&eligible, of: members, by: $0, at: now) } ?? .never
    self.members = members
    self.configured = configured
    self.eligible = eligible
    self.ejected = ejected
    self.firstTrial = firstTrial
    self.cursor = cursor
    self.ignoresHealth = ignoresHealth
    table = group.table
    maglev = group.maglev
    sequence =
      strategy.usesSequence(among: eligible.count) ? SmoothSequence.period(of: eligible) : []
  }

  /// Lowers the weights of members in slow start relative to the others; returns when the first
  /// step ends.
  private static func scale(
    _ candidates: inout [Candidate], of members: [Member], by slowStart: SlowStart, at now: Instant
  ) -> Instant {
    var nextStepAt = Instant.never
    let tenths =
      candidates.map { candidate in
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
    Int(cursor.next() % UInt64(count))
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
      return ignoresHealth ? reserveUnhealthy(index, excluding: tried) : nil
    }
  }

  /// The same even if health doesn't count in this level.
  func reserveHealthy(_ index: Int, excluding tried: TriedSet, at now: Instant) -> Pick? {
    let record = members[index].record
    if tried.contains(record.id) || !record.isEnabled { return nil }
    guard record.standing(at: now) == .available else { return nil }
    return take(index, isTrial: false)
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
