// Selection: the next member for one exchange or relay.
//
// The pool's strategy proposes members in its own order; selection takes the first that is enabled,
// healthy, not full and not yet tried, and reserves a slot on it in the same step. It goes through
// these ranks in order, until one has a member:
//
//   1. the member in the client's sticky cookie, if it was not tried yet
//   2. a member whose ejection is over, for its one trial (a sticky strategy proposes it itself)
//   3. primaries not yet tried   4. backups not yet tried
//   5. primaries, then backups, that were tried but are available and not spent (by a timeout or
//      a retried status); not while an untried member is only full and exchanges can queue
//   6. if no member is healthy and the pool fails open: any enabled member with a free slot
//
// Nothing is allocated; the few members already tried are stored inline.

public import Primitives

/// Picks the members for one exchange, and remembers which it tried.
public struct Selection: Sendable {
  private var tried = TriedSet()
  /// The token of the member that the client sticks to (`Member.stickyToken`); 0 for none.
  public let stickyToken: UInt64

  public init(stickyToken: UInt64 = 0) { self.stickyToken = stickyToken }

  /// The number of picks so far.
  public private(set) var pickCount = 0

  /// Picks the next member of `view`'s pool and reserves a slot on it, which the caller releases
  /// with `Pick.release`. A sticky strategy uses `client`; without an address (clients on a Unix
  /// socket have none) it picks at random.
  public mutating func next(
    in view: inout PoolView, client: IPAddress?, at now: Instant,
    generator: inout RandomGenerator
  ) throws(Unavailability) -> Pick {
    view.refresh(at: now)
    let draw = Draw(strategy: view.pool.strategy, client: client, now: now)
    let rotation = view.rotation
    var pick = stickyToken == 0 ? nil : draw.owner(stickyToken, in: rotation, excluding: tried)
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

/// The inputs of one pick that are the same for both tiers and each rank.
private struct Draw {
  let strategy: Strategy
  let client: IPAddress?
  let now: Instant

  /// The member in a client's cookie. This may be its trial, since the client uses no other member.
  func owner(_ token: UInt64, in rotation: Rotation, excluding tried: TriedSet) -> Pick? {
    guard let index = rotation.membership.index(ofToken: token) else { return nil }
    return rotation.primaries.reserve(index, excluding: tried, at: now, trial: true)
  }

  func next(
    in rotation: Rotation, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    next(in: rotation.primaries, excluding: tried, &generator)
      ?? next(in: rotation.backups, excluding: tried, &generator)
  }

  private func next(
    in tier: Tier, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    let isSticky = strategy.isSticky
    if now >= tier.firstTrial && !isSticky,
      let pick = trial(in: tier, excluding: tried, &generator)
    {
      return pick
    }
    var step = 0
    while let index = strategy.propose(
      step: step, from: tier, excluding: tried, client: client, &generator)
    {
      if let pick = tier.reserve(index, excluding: tried, at: now, trial: isSticky) { return pick }
      step += 1
    }
    if step == 0 { return nil }
    // The strategy has no more proposals, but another member may have a free slot.
    let count = tier.eligible.count
    if count == 0 { return nil }
    let start = generator.next(below: count)
    for offset in 0..<count {
      let index = tier.eligible[(start + offset) % count].index
      if let pick = tier.reserve(index, excluding: tried, at: now, trial: false) { return pick }
    }
    return nil
  }

  /// Checks only some of many members, so that an outage of thousands doesn't cost every pick a
  /// check of each. Later picks find the others that are due.
  private func trial(
    in tier: Tier, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Pick? {
    let count = tier.ejected.count
    let isWhole = count <= Strategy.proposalMax
    let start = isWhole ? 0 : generator.next(below: count)
    for offset in 0..<min(count, Strategy.proposalMax) {
      let index = tier.ejected[(start + offset) % count]
      if let pick = tier.reserve(index, excluding: tried, at: now, trial: true) { return pick }
    }
    return nil
  }

  /// Ignores health, for a pool that fails open.
  func anyone(in rotation: Rotation, excluding tried: TriedSet) -> Pick? {
    anyone(in: rotation.primaries, tried) ?? anyone(in: rotation.backups, tried)
  }

  private func anyone(in tier: Tier, _ tried: TriedSet) -> Pick? {
    let count = tier.configured.count
    if count == 0 { return nil }
    let start = tier.turn(of: count)
    for offset in 0..<count {
      let index = tier.configured[(start + offset) % count]
      if let pick = tier.reserveUnhealthy(index, excluding: tried) { return pick }
    }
    return nil
  }
}

/// The ids of the backends that an exchange has tried: a few, in a pool of any size.
struct TriedSet: Sendable {
  /// The same as the maximum of `RetryPolicy.maxAttemptsRange`; a further one replaces the first.
  static let capacity = 8

  private var ids = InlineArray<8, Int>(repeating: -1)
  private var count = 0
  /// A bit for each position in `ids`: whether another attempt there would fail again.
  private var spentPlaces: UInt8 = 0

  var isEmpty: Bool { count == 0 }

  func contains(_ id: Int) -> Bool {
    for index in 0..<min(count, Self.capacity) where ids[index] == id { return true }
    return false
  }

  mutating func insert(_ id: Int) {
    if contains(id) { return }
    ids[count % Self.capacity] = id
    spentPlaces &= ~(1 << (count % Self.capacity))
    count += 1
  }

  mutating func spend(_ id: Int) {
    for index in 0..<min(count, Self.capacity) where ids[index] == id { spentPlaces |= 1 << index }
  }

  /// Only the spent ones.
  var spent: TriedSet {
    var result = TriedSet()
    for index in 0..<min(count, Self.capacity) where spentPlaces & 1 << index != 0 {
      result.insert(ids[index])
    }
    return result
  }
}
