// A pool of one snapshot: its strategy and policies, its current membership, and the rotation that
// the workers pick from.
//
// A rotation is made when the first worker notices a new version, under the lock, and handed to all
// others. That is the only lock here, and only flips, admin commands and new memberships lead to
// it: an ordinary pick compares one number (PoolView).

public import Primitives
import Synchronization

/// Backends and the way to choose among them.
public final class Pool: Sendable {
  public let record: PoolRecord
  public let strategy: Strategy
  public let health: HealthPolicy
  public let allDown: AllDownPolicy
  public let budget: RetryBudget

  private let current: Mutex<Rotation>

  public init(
    _ record: PoolRecord, strategy: Strategy, members: [Member],
    health: HealthPolicy = HealthPolicy(), allDown: AllDownPolicy = .refuse,
    budget: RetryBudget = RetryBudget()
  ) {
    self.record = record
    self.strategy = strategy
    self.health = health
    self.allDown = allDown
    self.budget = budget
    let membership = Membership(members, strategy: strategy)
    current = Mutex(
      Rotation(membership, pool: record, strategy: strategy, version: record.version))
  }

  public var name: String { record.name }

  public var membership: Membership { current.withLock { $0.membership } }

  /// Replaces the members. Exchanges under way keep those that they have.
  public func publish(_ members: [Member]) {
    let membership = Membership(members, strategy: strategy)
    current.withLock { current in
      record.announce()
      current = rotation(of: membership)
    }
  }

  /// The rotation of the newest version.
  func rotation() -> Rotation {
    current.withLock { current in
      if current.version != record.version { current = rotation(of: current.membership) }
      return current
    }
  }

  /// The version is read before the records are, so that a flip in between leads to a newer one.
  private func rotation(of membership: Membership) -> Rotation {
    Rotation(membership, pool: record, strategy: strategy, version: record.version)
  }

  // MARK: Health

  /// Takes the result of one active check. Returns the flip that it caused, to be logged.
  @discardableResult
  public func observeCheck(of backend: BackendRecord, passed: Bool, at now: Instant) -> Flip? {
    let flip = backend.health.update { $0.observeCheck(passed: passed, health) }
    if let flip { backend.didFlip(flip, at: now) }
    return flip
  }

  /// Takes the verdict of an attempt on the backend that it picked: at most one for each pick, and
  /// none where the backend isn't to blame (`RetryPolicy.blamesBackend`), such as when the client
  /// left. Returns the flip that it caused, to be logged.
  @discardableResult
  public func observeExchange(_ pick: inout Pick, succeeded: Bool, at now: Instant) -> Flip? {
    let backend = pick.record
    let isTrial = pick.isTrial
    pick.isTrial = false
    if succeeded {
      backend.countSuccess()
      let flip = backend.health.update { $0.observeSuccess(isTrial: isTrial) }
      if let flip { backend.didFlip(flip, at: now) }
      return flip
    }
    backend.countFailure()
    let (flip, isEjectionDue) = backend.health.update { state in
      let flip = state.observeFailure(isTrial: isTrial, health, at: now)
      return (flip, state.isEjectionDue(health))
    }
    if let flip { backend.didFlip(flip, at: now) }
    return isEjectionDue ? ejectUnlessLast(backend, at: now) : flip
  }

  /// Under the lock, so that two workers can't eject the last two members at once. If it is the
  /// last one, its row of failures starts over, and so does the way here.
  private func ejectUnlessLast(_ backend: BackendRecord, at now: Instant) -> Flip? {
    current.withLock { current in
      let isLast = !current.membership.hasAvailableMember(besides: backend)
      let flip: Flip? = backend.health.update { state in
        guard state.isEjectionDue(health) else { return nil }
        if isLast {
          state.forgetFailures()
          return nil
        }
        return state.eject(health, at: now)
      }
      if let flip { backend.didFlip(flip, at: now) }
      return flip
    }
  }
}
