// A pool of one snapshot: its strategy and policies, its current members, and the rotation that the
// workers pick from.
//
// The first worker that sees a new version builds the rotation, under the lock; the others take it
// from here. That is the only lock here, and only health changes, admin commands and new members
// lead to it: an ordinary pick compares one number (PoolView).

public import Primitives
import Synchronization

/// Backends and the way to choose among them.
public final class Pool: Sendable {
  public let record: PoolRecord
  public let strategy: Strategy
  /// What strategies with affinity hash.
  public let affinityKey: AffinityKey
  /// In percent of its fair share: how much a member may have before a strategy with affinity goes
  /// on to the next one; nil for no bound.
  public let boundPercent: Int?
  public let failover: FailoverPolicy
  public let health: HealthPolicy
  public let allDown: AllDownPolicy
  public let budget: RetryBudget
  /// How many exchanges may wait for a slot while all members are full.
  public let queueMax: Int
  /// How long a backend that comes back gets less than its share; nil for no slow start.
  public let slowStart: TimeSpan?

  private struct Current {
    var rotation: Rotation
    var window = FailureWindow()

    var membership: Membership { rotation.membership }
  }

  private let current: Mutex<Current>

  public init(
    _ record: PoolRecord, strategy: Strategy, members: [Member],
    affinityKey: AffinityKey = .source, boundPercent: Int? = nil,
    failover: FailoverPolicy = FailoverPolicy(),
    health: HealthPolicy = HealthPolicy(), allDown: AllDownPolicy = .refuse,
    budget: RetryBudget = RetryBudget(), queueMax: Int = 0, slowStart: TimeSpan? = nil
  ) {
    self.record = record
    self.strategy = strategy
    self.affinityKey = affinityKey
    self.boundPercent = boundPercent
    self.failover = failover
    self.health = health
    self.allDown = allDown
    self.budget = budget
    self.queueMax = queueMax
    self.slowStart = slowStart
    let membership = Membership(members, of: record, strategy: strategy, zone: failover.zone)
    current = Mutex(
      Current(
        rotation: Rotation(
          membership, pool: record, strategy: strategy,
          slowStart: slowStart.map { SlowStart(span: $0) }, failover: failover,
          version: record.version, at: .origin)))
  }

  public var name: String { record.name }

  public var membership: Membership { current.withLock { $0.membership } }

  /// Replaces the members. Current exchanges keep theirs.
  public func publish(_ members: [Member]) {
    let membership = Membership(members, of: record, strategy: strategy, zone: failover.zone)
    current.withLock { current in
      record.announce()
      current = Current(rotation: rotation(of: membership, at: .origin))
    }
  }

  /// The rotation of the newest version, with slow starts as they are at `now`.
  func rotation(at now: Instant) -> Rotation {
    current.withLock { current in
      if current.rotation.version != record.version || now >= current.rotation.nextStepAt {
        current.rotation = rotation(of: current.membership, at: now)
      }
      return current.rotation
    }
  }

  /// Reads the version before the records: a health change in between then leads to another
  /// rotation.
  private func rotation(of membership: Membership, at now: Instant) -> Rotation {
    Rotation(
      membership, pool: record, strategy: strategy,
      slowStart: slowStart.map { SlowStart(span: $0) }, failover: failover,
      version: record.version, at: now)
  }

  /// A tier, or the members of a tier in the own or in other zones.
  public struct LevelState: Equatable, Sendable {
    public let tier: Int
    /// Nil if the pool prefers no zone in this tier.
    public let isNear: Bool?
    public let healthyCount: Int
    public let count: Int
    /// The share of the exchanges that begin here, 0 to 1.
    public let share: Double
  }

  /// The levels in their order, and whether health doesn't count at present.
  public func levels(at now: Instant) -> (states: [LevelState], isPanicking: Bool) {
    let rotation = rotation(at: now)
    let groups = rotation.membership.groups
    let firstUsed = rotation.levels.firstIndex { !$0.eligible.isEmpty }
    let states = zip(groups, rotation.levels).enumerated().map { place, pair in
      let (group, level) = pair
      let share =
        rotation.shares.map { Double($0.values[place]) / Double(LevelShares.unit) }
        ?? (place == firstUsed ? 1 : 0)
      let isSplit = groups.count { $0.tier == group.tier } > 1 || group.isNear
      return LevelState(
        tier: group.tier, isNear: isSplit ? group.isNear : nil,
        healthyCount: group.indices.count {
          let record = rotation.membership.members[$0].record
          return record.isEnabled && record.health.state.isAvailable
        }, count: level.configured.count, share: share)
    }
    return (states, rotation.isPanicking)
  }

  /// Whether so few members are healthy that health doesn't count.
  public var isPanicking: Bool { failover.isPanic(membership.members) }

  /// Whether any member is healthy; if not, `allDown` decides what happens.
  public var isAnyHealthy: Bool {
    membership.members.contains { $0.record.isEnabled && $0.record.health.state.isAvailable }
  }

  /// Whether this backend is the only available one. Without it, `allDown` decides what happens.
  public func isLastAvailable(_ backend: BackendRecord) -> Bool {
    backend.isEnabled && backend.health.state.isAvailable
      && !membership.hasAvailableMember(besides: backend)
  }

  /// Whether all available backends are among these.
  public func isAvailableOnly(by isMeant: (BackendRecord) -> Bool) -> Bool {
    let available = membership.members.map(\.record).filter {
      $0.isEnabled && $0.health.state.isAvailable
    }
    return !available.isEmpty && available.allSatisfy(isMeant)
  }

  /// A change in whether a backend is available.
  public enum AvailabilityChange: Sendable {
    case lost, regained
  }

  /// Notes whether a backend is available, for the log. Returns each change once.
  public func noteAvailability() -> AvailabilityChange? {
    let isAvailable = isAnyHealthy
    if record.noteAvailability(isAvailable) == isAvailable { return nil }
    return isAvailable ? .regained : .lost
  }

  /// Notes whether health doesn't count, for the log. Returns the new value, for each change once.
  public func notePanic() -> Bool? {
    let isPanicking = isPanicking
    return record.notePanic(isPanicking) == isPanicking ? nil : isPanicking
  }

  /// Notes how long a backend took to respond, or to fail, if the strategy asks for it.
  public func observeTime(
    _ span: TimeSpan, of backend: BackendRecord, failed: Bool, at now: Instant
  ) {
    if strategy == .leastTime { backend.latency.observe(span, failed: failed, at: now) }
  }

  // MARK: Health

  /// Records the result of one health check. Returns the health change that it caused, for the log.
  @discardableResult
  public func observeCheck(of backend: BackendRecord, passed: Bool, at now: Instant) -> Flip? {
    let flip = backend.health.update { $0.observeCheck(passed: passed, health) }
    if let flip { backend.didFlip(flip, at: now) }
    return flip
  }

  /// Records the result of an attempt on the picked backend: at most once for each pick, and not at
  /// all if the backend isn't to blame (`RetryPolicy.blamesBackend`), such as when the client left.
  /// Returns the health change that it caused, for the log.
  @discardableResult
  public func observeExchange(_ pick: inout Pick, succeeded: Bool, at now: Instant) -> Flip? {
    let isTrial = pick.isTrial
    pick.isTrial = false
    if succeeded {
      pick.record.countSuccess()
      let flip = pick.record.health.update { $0.observeSuccess(isTrial: isTrial) }
      if let flip { pick.record.didFlip(flip, at: now) }
      return flip
    }
    pick.record.countFailure()
    let (flip, isEjectionDue) = pick.record.health.update { state in
      let flip = state.observeFailure(isTrial: isTrial, health, at: now)
      return (flip, state.isEjectionDue(health))
    }
    if let flip { pick.record.didFlip(flip, at: now) }
    if flip != nil || !isEjectionDue && health.failurePercent == nil { return flip }
    return ejectIfRight(pick, at: now)
  }

  /// Ejects a backend for consecutive failures or for its failure rate, unless it is the last one
  /// available or too many are already ejected. Under the lock, so that two workers can't eject the
  /// last two members at once. If the ejection is not allowed, the count of consecutive failures
  /// restarts at 0, so that the lock isn't taken after each failure.
  private func ejectIfRight(_ pick: borrowing Pick, at now: Instant) -> Flip? {
    let backend = pick.record
    return current.withLock { current in
      let members = current.membership.members
      let index = current.membership.index(of: pick)
      current.window.advance(members, health.failureWindow, to: now)
      let isOutlier = index.map { current.window.isOutlier($0, members, health) } ?? false
      if !isOutlier && !backend.health.state.isEjectionDue(health) { return nil }
      let isWrong =
        current.membership.ejectedCount >= health.ejectedMax(of: members.count)
        || !current.membership.hasAvailableMember(besides: backend)
      let flip: Flip? = backend.health.update { state in
        guard !state.isEjected, isOutlier || state.isEjectionDue(health) else { return nil }
        if isWrong {
          state.forgetFailures()
          return nil
        }
        return state.eject(health, at: now)
      }
      if let flip {
        if let index { current.window.forget(index, backend) }
        backend.didFlip(flip, at: now)
      }
      return flip
    }
  }
}
