// The state of one backend in the whole process, in atomics: load, health, admin state and weight
// override. It outlives reloads, and stays alive while a worker uses it.
//
// Nothing here blocks. Code that changes what selection depends on calls `announce` on the pool's
// record.

public import Primitives
import Synchronization

/// A backend's address, after its name is resolved.
public typealias BackendAddress = SocketAddress

/// Identifies a backend across reloads: its pool's name and its address as configured.
public struct BackendIdentity: Hashable, Sendable {
  public let pool: String
  public let address: String

  public init(pool: String, address: String) {
    self.pool = pool
    self.address = address
  }
}

/// The state that an operator set for a backend.
public enum AdminState: UInt8, CaseIterable, Sendable {
  case enabled
  /// Gets no new exchanges; current ones continue.
  case draining
  /// Like `draining`, and health checks stop.
  case disabled
}

/// The version of HTTP on a connection to a backend.
public enum BackendVersion: UInt8, Sendable {
  case http1 = 1
  case http2

  /// As `protocol` of a pool names it.
  public var name: StaticString {
    switch self {
    case .http1: "http/1.1"
    case .http2: "h2"
    }
  }
}

/// A backend's atomics. The `BackendRegistry` finds them by identity.
public final class BackendRecord: Sendable {
  // Fields that each exchange writes come first, next to the object's reference count.
  private let active = Atomic<Int>(0)
  let health: Health
  /// The admin state in the low byte, the weight override (0 for none) above it.
  private let admin = Atomic<UInt32>(0)
  private let successes = Atomic<UInt64>(0)
  private let failures = Atomic<UInt64>(0)
  private let ejections = Atomic<UInt64>(0)
  private let changed = Atomic<UInt64>(0)
  private let adminChanged = Atomic<UInt64>(0)
  private let returned = Atomic<UInt64>(0)
  /// For strategies that use it.
  let latency = Latency()
  private let version = Atomic<UInt8>(0)
  /// When responses began to be faulty, and the number of successes before; 0 if there was no
  /// fault.
  private let faultyFrom = Atomic<UInt64>(0)
  private let successesBefore = Atomic<UInt64>(0)

  /// Below the registry's `idCount`, so that a worker can use it as an index. No other record has
  /// it while this one exists; a later one may.
  public let id: Int
  public let identity: BackendIdentity
  public let pool: PoolRecord
  /// The results of its health checks.
  public let checks = CheckHistory()

  private let ids: BackendIDs

  init(ids: BackendIDs, identity: BackendIdentity, pool: PoolRecord, health: HealthPolicy) {
    id = ids.take()
    self.ids = ids
    self.identity = identity
    self.pool = pool
    self.health = Health(health)
  }

  deinit { ids.giveBack(id) }

  // MARK: Exchanges

  /// Current exchanges and relays on this backend, in the whole process.
  public var activeCount: Int { active.load(ordering: .relaxed) }

  /// Reserves a slot, unless `limit` slots are taken; nil for no limit.
  public func tryReserve(limit: Int?) -> Bool {
    if let limit { return active.tryIncrement(limit: limit) }
    active.wrappingAdd(1, ordering: .relaxed)
    return true
  }

  /// Releases a slot; call it exactly once for each reserved slot. After it, the caller must check
  /// the pool's queue, in this order: WaitingLine relies on it.
  public func release() {
    let count = active.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue
    assert(count >= 0, "releasing a place that was not taken")
  }

  // MARK: Health

  public func standing(at now: Instant) -> Standing { health.state.standing(at: now) }

  /// When the health last changed; the origin if it never did.
  public var changedAt: Instant { Instant(nanoseconds: changed.load(ordering: .relaxed)) }
  /// When the backend last became available after it was unavailable; the origin if it never was.
  /// Becoming available for the first time doesn't count.
  public var returnedAt: Instant { Instant(nanoseconds: returned.load(ordering: .relaxed)) }
  /// Exchanges that succeeded and failed, and the number of ejections.
  public var successCount: UInt64 { successes.load(ordering: .relaxed) }
  public var failureCount: UInt64 { failures.load(ordering: .relaxed) }
  public var ejectionCount: UInt64 { ejections.load(ordering: .relaxed) }

  /// Forgets the results of checks, for a reload that turns checks off: without checks, a backend
  /// that they marked down would never come back.
  public func forgetChecks() {
    let wasDown = health.update { state in
      defer { state.forgetChecks() }
      return state.checksDown
    }
    if wasDown { pool.announce() }
  }

  /// How long all responses must be faulty before the backend is blamed for them.
  static let faultSpan = TimeSpan.seconds(10)

  /// Notes a response with a fault that a client may have caused. True if no response was valid for
  /// `faultSpan`: then the cause is the backend, or no other client uses it. A valid response costs
  /// only its count.
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

  /// Records a health change and makes the workers see it.
  func didFlip(_ flip: Flip, at now: Instant) {
    if flip.isUp && changedAt != .origin { returned.store(now.nanoseconds, ordering: .relaxed) }
    changed.store(now.nanoseconds, ordering: .relaxed)
    if case .ejected = flip { ejections.wrappingAdd(1, ordering: .relaxed) }
    pool.announce()
  }

  // MARK: Set by operators

  /// Lasts until it is set again; reloads keep it.
  public var adminState: AdminState {
    get {
      let byte = UInt8(truncatingIfNeeded: admin.load(ordering: .relaxed))
      return AdminState(rawValue: byte) ?? .enabled
    }
    set { changeAdmin { $0 & ~0xFF | UInt32(newValue.rawValue) } }
  }

  /// Sets the state. If it is a new state, notes the time.
  public func setAdminState(_ state: AdminState, at now: Instant) {
    if state == adminState { return }
    adminState = state
    adminChanged.store(now.nanoseconds, ordering: .relaxed)
  }

  /// When the state last changed; the origin if this process never changed it.
  public var adminChangedAt: Instant {
    Instant(nanoseconds: adminChanged.load(ordering: .relaxed))
  }

  var isEnabled: Bool { adminState == .enabled }

  /// The weight to use instead of the configured one, clamped to 1-256; nil for the configured one.
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

  // MARK: Protocol

  /// What was spoken on the newest connection to it; nil while nothing shows it. In HTTP/2 the
  /// SETTINGS of the backend show it: a connection without TLS alone doesn't.
  public var spoken: BackendVersion? {
    BackendVersion(rawValue: version.load(ordering: .relaxed))
  }

  public func noteSpoken(_ spoken: BackendVersion) {
    if version.load(ordering: .relaxed) != spoken.rawValue {
      version.store(spoken.rawValue, ordering: .relaxed)
    }
  }

  // MARK: Upgrades

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

  /// The estimated time from a request to the response's head; nil if it isn't measured, or before
  /// the first response.
  public func latency(at now: Instant) -> TimeSpan? {
    latency.estimate.time(at: now).map { TimeSpan.nanoseconds(Int64($0) << 10) }
  }
}

extension ClosedRange where Bound == Int {
  func clamping(_ value: Int) -> Int { Swift.min(Swift.max(value, lowerBound), upperBound) }
}
