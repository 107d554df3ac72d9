// Selection: the next member for one exchange or relay.
//
// Mechanism apart from policy. The pool's strategy proposes members in its own order; selection
// takes the first that is enabled, healthy, not full and not yet tried, and reserves a place on it
// in the same step. In this order, each rank only when the one before has nobody:
//
//   1. the member that the client sticks to by its cookie, if it was not tried yet
//   2. a member whose ejection is over, for its one trial (a sticky strategy proposes it itself)
//   3. primaries not yet tried   4. backups not yet tried
//   5. primaries, then backups, that were tried but are available and not spent (by a time-out or
//      a retried status); not while another is only full, and may be waited for
//   6. if nobody is healthy and the pool fails open: any enabled member with a free place
//
// Nothing is allocated; the few members already tried are kept inline.

public import Primitives

/// The choice of members for one exchange, which remembers whom it tried.
public struct Selection: Sendable {
  private var tried = TriedSet()
  /// The member that the client belongs to (`Member.stickyToken`); 0 if to none.
  public let stickyToken: UInt64

  public init(stickyToken: UInt64 = 0) { self.stickyToken = stickyToken }

  /// How many picks were made.
  public private(set) var pickCount = 0

  /// Picks the next member of `view`'s pool and takes a place on it, which the caller gives back
  /// by `Pick.release`. `client` decides under a sticky strategy; without one (a Unix socket has
  /// none) such a strategy picks at random.
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
      // Where exchanges may wait, a full member is worth more than one that has just failed.
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

  /// This backend isn't picked again: it took too long, or answered with a status that is retried,
  /// and would again.
  public mutating func spend(_ backend: Int) { tried.spend(backend) }

  /// Whether a member could be picked now, or waited for, other than `backend` and those that were
  /// spent.
  public func hasOther(than backend: Int, in view: inout PoolView, at now: Instant) -> Bool {
    view.refresh(at: now)
    var spent = tried.spent
    spent.insert(backend)
    return view.hasMember(besides: spent, at: now)
  }
}

extension Selection {
  /// Takes a place on the member of this record, whatever its health, and whether or not it takes
  /// new clients: for one who is there already and can go nowhere else.
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

/// A member as picked, with a place taken on it; since that is one place, it can't be copied. It
/// may outlive the pool's membership, even the pool.
public struct Pick: ~Copyable, Sendable {
  /// Where the member stood in the membership at that time.
  public let index: Int
  public let member: Member
  /// Nobody is healthy, and the pool fails open.
  public internal(set) var isFailOpen = false
  /// The backend was ejected and this is its trial: alone, and awaited by all others.
  public internal(set) var isTrial: Bool

  public var record: BackendRecord { member.record }

  /// Gives the place back, exactly once; a trial without a verdict passes to the next exchange.
  public consuming func release() {
    if isTrial { record.health.update { $0.abandonTrial() } }
    record.release()
  }
}

/// Why nobody could be picked.
public enum Unavailability: Error, Equatable, Sendable {
  /// The pool has no members.
  case noMembers
  /// No member is both enabled and healthy.
  case allDown
  /// The members that could serve have reached their `max-connections`.
  case allFull
  /// They have, and as many exchanges as may wait for a place already.
  case queueFull
  /// They had, for as long as an exchange may wait.
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

/// One pick in the making: what is the same for both tiers and each rank.
private struct Draw {
  let strategy: Strategy
  let client: IPAddress?
  let now: Instant

  /// The member that a client's cookie names. It may as well be its trial: the client would wait
  /// for nobody else.
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
    // The strategy ran out of proposals, but there may be a free place still.
    let count = tier.eligible.count
    if count == 0 { return nil }
    let start = generator.next(below: count)
    for offset in 0..<count {
      let index = tier.eligible[(start + offset) % count].index
      if let pick = tier.reserve(index, excluding: tried, at: now, trial: false) { return pick }
    }
    return nil
  }

  /// Of very many it looks at some, so that an outage of thousands doesn't cost every pick a look
  /// at each: whoever is due is found by one of the next.
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

  /// Health put aside: for a pool that fails open.
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

/// The backends that an exchange has tried, by id: a handful, whatever the size of the pool.
struct TriedSet: Sendable {
  /// As many as `RetryPolicy.maxAttemptsRange` allows; a further one takes the first one's place.
  static let capacity = 8

  private var ids = InlineArray<8, Int>(repeating: -1)
  private var count = 0
  /// A bit for each place in `ids`: whether another attempt there would help nothing.
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

  /// Those that were spent.
  var spent: TriedSet {
    var result = TriedSet()
    for index in 0..<min(count, Self.capacity) where spentPlaces & 1 << index != 0 {
      result.insert(ids[index])
    }
    return result
  }
}
