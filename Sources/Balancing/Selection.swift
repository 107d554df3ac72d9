// Selection: the next member for one exchange or relay.
//
// The pool's strategy proposes members in its own order; selection takes the first that is enabled,
// healthy, not full and not yet tried, and reserves a slot on it in the same step. It goes through
// these ranks in order, until one has a member:
//
//   1. the member in the client's sticky cookie
//   2. a member whose ejection is over, for its one trial (a sticky strategy proposes it itself)
//   3. members not yet tried, level by level, beginning where `LevelShares` says
//   4. members that were tried but are available and not spent (by a timeout or a retried status);
//      not while an untried member is only full and exchanges can queue
//   5. if no member is healthy and the pool fails open: any enabled member with a free slot
//
// In a panic a retry takes a healthy member before rank 2. Nothing is allocated.

public import Primitives

/// Picks the members for one exchange, and remembers which it tried.
public struct Selection: Sendable {
  private var tried = TriedSet()
  /// The token of the member that the client sticks to (`Member.stickyToken`); 0 for none.
  public var stickyToken: UInt64
  /// The hash of the key of this request or connection, for strategies with affinity
  /// (`AffinityKey.hash`); 0 if it has none. Then the client's address is the key.
  public var affinity: UInt64

  public init(stickyToken: UInt64 = 0, affinity: UInt64 = 0) {
    self.stickyToken = stickyToken
    self.affinity = affinity
  }

  /// The number of picks so far.
  public private(set) var pickCount = 0

  /// Picks the next member of `view`'s pool and reserves a slot on it, which the caller releases
  /// with `Pick.release`. A strategy with affinity uses `affinity`, or else `client`; without an
  /// address (clients on a Unix socket have none) it picks at random.
  public mutating func next(
    in view: inout PoolView, client: IPAddress?, at now: Instant,
    generator: inout RandomGenerator
  ) throws(Unavailability) -> Pick {
    view.refresh(at: now)
    let draw = Draw(view.pool, key: affinity, client: client, now: now)
    let rotation = view.rotation
    var pick = stickyToken == 0 ? nil : draw.owner(stickyToken, in: rotation, excluding: tried)
    if pick == nil && rotation.isPanicking && !tried.isEmpty {
      pick = draw.healthy(in: rotation, excluding: tried, &generator)
    }
    if pick == nil { pick = draw.next(in: rotation, excluding: tried, &generator) }
    if pick == nil && !tried.isEmpty {
      // If exchanges can queue, waiting for a full member is better than using one that has just
      // failed.
      if view.pool.queueMax > 0 && rotation.hasEligible(besides: tried) { throw .allFull }
      pick = draw.next(in: rotation, excluding: tried.spent, &generator)
    }
    if pick == nil && view.pool.allDown == .failOpen && !rotation.isAnyEligible {
      pick =
        draw.anyone(in: rotation, excluding: tried)
        ?? draw.anyone(in: rotation, excluding: tried.spent)
    }
    guard let pick else { throw view.unavailability(excluding: tried.spent) }
    tried.insert(pick.record.id)
    pickCount += 1
    return pick
  }

  /// Excludes this backend from further picks: it was too slow, or sent a status that is retried,
  /// and would do so again.
  public mutating func spend(_ backend: Int) { tried.spend(backend) }

  /// Whether a member other than `backend` and the spent ones could be picked now or after
  /// queueing.
  public func hasOther(than backend: Int, in view: inout PoolView, at now: Instant) -> Bool {
    view.refresh(at: now)
    var spent = tried.spent
    spent.insert(backend)
    return view.hasMember(besides: spent, at: now)
  }
}

extension Selection {
  /// Reserves a slot on the member of this record, whatever its health, and even if it takes no new
  /// clients: for a client that is bound to this backend.
  public mutating func bound(
    to record: BackendRecord, in view: inout PoolView, at now: Instant
  ) throws(Unavailability) -> Pick {
    view.refresh(at: now)
    guard let index = view.members.firstIndex(where: { $0.record === record }) else {
      throw .noMembers
    }
    let member = view.members[index]
    guard record.tryReserve(limit: member.maxConnections) else { throw .allFull }
    return Pick(index: index, member: member, isTrial: false)
  }
}

/// A picked member and the slot reserved on it. It can't be copied, since it is one slot. It may
/// outlive the pool's members, and even the pool.
public struct Pick: ~Copyable, Sendable {
  /// The member's index in the membership at that time.
  public let index: Int
  public let member: Member
  /// No member is healthy, and the pool fails open.
  public internal(set) var isFailOpen = false
  /// The backend was ejected and this is its trial. It gets no other exchange until the trial ends.
  public internal(set) var isTrial: Bool

  public var record: BackendRecord { member.record }

  /// Releases the slot; call it exactly once. After a trial without result, the next exchange may
  /// try.
  public consuming func release() {
    if isTrial { record.health.update { $0.abandonTrial() } }
    record.release()
  }
}

/// Why no member could be picked.
public enum Unavailability: Error, Equatable, Sendable {
  /// The pool has no members.
  case noMembers
  /// No member is both enabled and healthy.
  case allDown
  /// The members that could serve have reached their `max-connections`.
  case allFull
  /// All members are full, and so is the queue.
  case queueFull
  /// All members were full for as long as an exchange may wait in the queue.
  case queueTimeout

  /// Its word in logs and metrics.
  public var word: FailureWord {
    switch self {
    case .noMembers: .noMembers
    case .allDown: .allDown
    case .allFull: .allFull
    case .queueFull: .queueFull
    case .queueTimeout: .queueTimeout
    }
  }

  public var name: StaticString { word.name }

  /// The status to answer with: 503 Service Unavailable (RFC 9110 15.6.4).
  public var status: UInt16 { 503 }
}

/// The inputs of one pick that are the same for all levels and each rank.
private struct Draw {
  let strategy: Strategy
  let now: Instant
  /// For strategies with affinity: the hash of the key, 0 for none, and the bound, 0 for none.
  let affinity: UInt64
  let boundPercent: Int

  @inline(__always)
  init(_ pool: Pool, key: UInt64, client: IPAddress?, now: Instant) {
    strategy = pool.strategy
    self.now = now
    if strategy.isSticky {
      affinity = strategy.affinity(of: key, client: client)
      boundPercent = pool.boundPercent ?? 0
    } else {
      affinity = 0
      boundPercent = 0
    }
  }

  /// The member in a client's cookie. This may be its trial, since the client uses no other member.
  func owner(_ token: UInt64, in rotation: Rotation, excluding tried: TriedSet) -> Pick? {
    guard let index = rotation.membership.index(ofToken: token) else { return nil }
    return rotation.first.reserve(index, excluding: tried, at: now, trial: true)
  }

  func next(
    in rotation: Rotation, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    if let shares = rotation.shares {
      return next(in: rotation, by: shares, excluding: tried, &generator)
    }
    if let pick = next(in: rotation.first, excluding: tried, &generator) { return pick }
    for level in rotation.others {
      if let pick = next(in: level, excluding: tried, &generator) { return pick }
    }
    return nil
  }

  /// The key decides about the level as well, so that all nodes agree about it. While a level's
  /// share falls, its keys leave it one after the other, and the others stay.
  private func next(
    in rotation: Rotation, by shares: LevelShares, excluding tried: TriedSet,
    _ generator: inout RandomGenerator
  ) -> Pick? {
    let levels = rotation.levels
    for level in levels where now >= level.firstTrial && mayTryAny(in: level) {
      if let pick = trial(in: level, excluding: tried, &generator) { return pick }
    }
    let number = affinity == 0 ? generator.next() : LevelShares.number(for: affinity)
    let start = shares.level(of: number)
    if let pick = next(in: levels[start], excluding: tried, &generator) { return pick }
    for level in levels.indices where level != start {
      if let pick = next(in: levels[level], excluding: tried, &generator) { return pick }
    }
    return nil
  }

  /// Whether a trial waits for no proposal of the strategy: a strategy with affinity proposes the
  /// member itself, unless the whole level is out of use.
  private func mayTryAny(in level: Level) -> Bool {
    !strategy.isSticky || level.eligible.isEmpty
  }

  private func next(
    in level: Level, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    if strategy.isSticky { return nextByKey(in: level, excluding: tried, &generator) }
    if now >= level.firstTrial, let pick = trial(in: level, excluding: tried, &generator) {
      return pick
    }
    var step = 0
    while let index = strategy.propose(
      step: step, from: level, excluding: tried, affinity: 0, at: now, &generator)
    {
      if let pick = level.reserve(index, excluding: tried, at: now, trial: false) { return pick }
      step += 1
    }
    return step == 0 ? nil : anyFree(in: level, excluding: tried, &generator)
  }

  /// For strategies with affinity, whose proposals may be trials.
  @inline(never)
  private func nextByKey(
    in level: Level, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    if level.eligible.isEmpty {
      return now < level.firstTrial ? nil : trial(in: level, excluding: tried, &generator)
    }
    let bound = boundPercent == 0 ? nil : level.bound(percent: boundPercent, at: now)
    var step = 0
    while let index = strategy.propose(
      step: step, from: level, excluding: tried, affinity: affinity, at: now, &generator)
    {
      if bound?.isReached(by: level.members[index]) != true,
        let pick = level.reserve(index, excluding: tried, at: now, trial: true)
      {
        return pick
      }
      step += 1
    }
    return anyFree(in: level, excluding: tried, &generator)
  }

  /// The strategy has no more proposals, but another member may have a free slot.
  @inline(never)
  private func anyFree(
    in level: Level, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    let count = level.eligible.count
    if count == 0 { return nil }
    let start = generator.next(below: count)
    for offset in 0..<count {
      let index = level.eligible[(start + offset) % count].index
      if let pick = level.reserve(index, excluding: tried, at: now, trial: false) { return pick }
    }
    return nil
  }

  /// A healthy member, for a retry in a panic: the attempts of one exchange would end before they
  /// reach it if most members are down, and the checks seem to be right about the one that failed.
  @inline(never)
  func healthy(
    in rotation: Rotation, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    for level in rotation.levels {
      let count = level.eligible.count
      if count == 0 { continue }
      let start = affinity == 0 ? generator.next(below: count) : Int(affinity % UInt64(count))
      for offset in 0..<count {
        let index = level.eligible[(start + offset) % count].index
        if let pick = level.reserveHealthy(index, excluding: tried, at: now) { return pick }
      }
    }
    return nil
  }

  /// Checks only some of many members, so that an outage of thousands doesn't cost every pick a
  /// check of each. Later picks find the others that are due.
  private func trial(
    in level: Level, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    let count = level.ejected.count
    let isWhole = count <= Strategy.proposalMax
    let start = isWhole ? 0 : generator.next(below: count)
    for offset in 0..<min(count, Strategy.proposalMax) {
      let index = level.ejected[(start + offset) % count]
      if let pick = level.reserve(index, excluding: tried, at: now, trial: true) { return pick }
    }
    return nil
  }

  /// Ignores health, for a pool that fails open.
  func anyone(in rotation: Rotation, excluding tried: TriedSet) -> Pick? {
    if let pick = anyone(in: rotation.first, tried) { return pick }
    for level in rotation.others {
      if let pick = anyone(in: level, tried) { return pick }
    }
    return nil
  }

  private func anyone(in level: Level, _ tried: TriedSet) -> Pick? {
    let count = level.configured.count
    if count == 0 { return nil }
    let start = level.turn(of: count)
    for offset in 0..<count {
      let index = level.configured[(start + offset) % count]
      if let pick = level.reserveUnhealthy(index, excluding: tried) { return pick }
    }
    return nil
  }
}
