// What is true of one backend for the whole process, in atomics only: how busy it is, how healthy,
// what an operator decided. It outlives reloads, and exchanges that are under way keep it alive.
//
// Nothing here waits. Whoever changes what selection depends on announces it to the pool's record.

public import Primitives
import Synchronization

/// A backend's address; its name is resolved before it gets here.
public typealias BackendAddress = SocketAddress

/// Who a backend is across reloads: its pool's name and its address as the configuration writes it.
public struct BackendIdentity: Hashable, Sendable {
  public let pool: String
  public let address: String

  public init(pool: String, address: String) {
    self.pool = pool
    self.address = address
  }
}

/// What an operator decided about a backend by hand.
public enum AdminState: UInt8, CaseIterable, Sendable {
  case enabled
  /// Takes no new exchange; those under way go on.
  case draining
  /// As `draining`, and not to be checked either.
  case disabled
}

/// A backend's atomics, found again by identity in the `BackendRegistry`.
public final class BackendRecord: Sendable {
  // What each exchange touches comes first, next to the object's reference count.
  private let active = Atomic<Int>(0)
  let health: Health
  /// The admin state in the low byte, the weight override (0 for none) above it.
  private let admin = Atomic<UInt32>(0)
  private let successes = Atomic<UInt64>(0)
  private let failures = Atomic<UInt64>(0)
  private let ejections = Atomic<UInt64>(0)
  private let changed = Atomic<UInt64>(0)
  private let returned = Atomic<UInt64>(0)
  private let latency = Atomic<Int64>(0)
  /// When answers began to be faulty, and how many good ones there had been; 0 for no fault yet.
  private let faultyFrom = Atomic<UInt64>(0)
  private let successesBefore = Atomic<UInt64>(0)

  /// Dense: below the registry's `backendCount`, so that a worker can keep tables by it.
  public let id: Int
  public let identity: BackendIdentity
  public let pool: PoolRecord

  init(id: Int, identity: BackendIdentity, pool: PoolRecord, health: HealthPolicy) {
    self.id = id
    self.identity = identity
    self.pool = pool
    self.health = Health(health)
  }

  // MARK: Exchanges

  /// Exchanges and relays on this backend now, over the whole process.
  public var activeCount: Int { active.load(ordering: .relaxed) }

  /// Takes a place, unless `limit` are taken already; nil for no limit.
  public func tryReserve(limit: Int?) -> Bool {
    if let limit { return active.tryIncrement(limit: limit) }
    active.wrappingAdd(1, ordering: .relaxed)
    return true
  }

  /// Gives a place back, exactly once for each that was taken. Whoever does looks at the pool's
  /// line afterwards, if there is one; the order is what WaitingLine relies on.
  public func release() {
    let count = active.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue
    assert(count >= 0, "releasing a place that was not taken")
  }

  // MARK: Health

  public func standing(at now: Instant) -> Standing { health.state.standing(at: now) }

  /// When the health last flipped; the origin if it never did.
  public var changedAt: Instant { Instant(nanoseconds: changed.load(ordering: .relaxed)) }
  /// When the backend last came back after it was out; the origin if it never was. Coming up for
  /// the first time is no return.
  public var returnedAt: Instant { Instant(nanoseconds: returned.load(ordering: .relaxed)) }
  /// Exchanges that counted for and against it, and how often it was ejected.
  public var successCount: UInt64 { successes.load(ordering: .relaxed) }
  public var failureCount: UInt64 { failures.load(ordering: .relaxed) }
  public var ejectionCount: UInt64 { ejections.load(ordering: .relaxed) }

  /// Forgets what checks said. For a reload that turned checks off, since nothing else would bring
  /// a backend back that they had taken out.
  public func forgetChecks() {
    let wasDown = health.update { state in
      defer { state.forgetChecks() }
      return state.checksDown
    }
    if wasDown { pool.announce() }
  }

  /// For how long all answers must have been faulty until the backend is blamed for them.
  static let faultSpan = TimeSpan.seconds(10)

  /// Notes an answer whose fault may be a client's doing. True when no good one has come for
  /// `faultSpan`: then it is the backend's, or nobody else asks it for anything. A good answer
  /// costs no more than its count.
  public func isFaultLasting(at now: Instant) -> Bool {
    let from = faultyFrom.load(ordering: .relaxed)
    if from != 0 && successesBefore.load(ordering: .relaxed) == successCount {
      return now - Instant(nanoseconds: from) >= Self.faultSpan
    }
    successesBefore.store(successCount, ordering: .relaxed)
    faultyFrom.store(now.nanoseconds, ordering: .relaxed)
    return false
  }

  func countSuccess() { successes.wrappingAdd(1, ordering: .relaxed) }
  func countFailure() { failures.wrappingAdd(1, ordering: .relaxed) }

  /// Notes a flip and makes the workers take it up.
  func didFlip(_ flip: Flip, at now: Instant) {
    if flip.isUp && changedAt != .origin { returned.store(now.nanoseconds, ordering: .relaxed) }
    changed.store(now.nanoseconds, ordering: .relaxed)
    if case .ejected = flip { ejections.wrappingAdd(1, ordering: .relaxed) }
    pool.announce()
  }

  // MARK: Decided by hand

  /// Lasts until it is set again, over reloads.
  public var adminState: AdminState {
    get {
      let byte = UInt8(truncatingIfNeeded: admin.load(ordering: .relaxed))
      return AdminState(rawValue: byte) ?? .enabled
    }
    set { changeAdmin { $0 & ~0xFF | UInt32(newValue.rawValue) } }
  }

  var isEnabled: Bool { adminState == .enabled }

  /// The weight to use instead of the configured one, brought into 1-256; nil for the configured.
  public var weightOverride: Int? {
    get {
      let weight = Int(admin.load(ordering: .relaxed) >> 8)
      return weight == 0 ? nil : weight
    }
    set {
      let weight = newValue.map { UInt32(Member.weightRange.clamping($0)) } ?? 0
      changeAdmin { $0 & 0xFF | weight << 8 }
    }
  }

  private func changeAdmin(_ change: (UInt32) -> UInt32) {
    var seen = admin.load(ordering: .relaxed)
    while true {
      let exchange = admin.weakCompareExchange(
        expected: seen, desired: change(seen), ordering: .releasing)
      if exchange.exchanged { break }
      seen = exchange.original
    }
    pool.announce()
  }

  // MARK: Over an upgrade

  var state: BackendState {
    let seen = health.state
    return BackendState(
      identity: identity, isDown: seen.checksDown, ejections: seen.ejections,
      ejectedUntil: seen.ejectedUntil, changedAt: changedAt, admin: adminState,
      weight: weightOverride)
  }

  func restore(_ state: BackendState) {
    health.update { health in
      health = HealthState(
        isDown: state.isDown, ejections: state.ejections, ejectedUntil: state.ejectedUntil)
    }
    changed.store(state.changedAt.nanoseconds, ordering: .relaxed)
    changeAdmin { _ in
      UInt32(state.admin.rawValue)
        | UInt32(state.weight.map { Member.weightRange.clamping($0) } ?? 0) << 8
    }
  }

  // MARK: Latency

  /// The time to a response's first byte as last estimated, for strategies that look at it; zero
  /// while unknown.
  public var latencyEstimate: TimeSpan {
    get { TimeSpan(nanoseconds: latency.load(ordering: .relaxed)) }
    set { latency.store(newValue.nanoseconds, ordering: .relaxed) }
  }
}

extension ClosedRange where Bound == Int {
  func clamping(_ value: Int) -> Int { Swift.min(Swift.max(value, lowerBound), upperBound) }
}
