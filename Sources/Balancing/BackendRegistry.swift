// Finds the records that outlive reloads. Used at start, at a reload and when discovery changes the
// members, but not on the request path, so a lock is fine.
//
// Records are never removed while the process runs: a backend that is removed and added again keeps
// its drain and its ejection, and ids stay dense.

import Synchronization

/// All pools and backends that were configured since the start, by identity.
public final class BackendRegistry: Sendable {
  private struct Content {
    var pools: [String: PoolRecord] = [:]
    var backends: [BackendIdentity: BackendRecord] = [:]
  }

  private let content = Mutex(Content())

  public init() {}

  /// The record of the pool `name`, created on first use.
  public func pool(_ name: String) -> PoolRecord {
    content.withLock { content in
      Self.pool(name, in: &content)
    }
  }

  /// The record of a backend, by its pool's name and its address as configured. It is created on
  /// first use; only then `health` matters, for the initial state.
  public func backend(
    pool name: String, address: String, health: HealthPolicy = HealthPolicy()
  ) -> BackendRecord {
    content.withLock { content in
      let identity = BackendIdentity(pool: name, address: address)
      if let known = content.backends[identity] { return known }
      let record = BackendRecord(
        id: content.backends.count, identity: identity, pool: Self.pool(name, in: &content),
        health: health)
      content.backends[identity] = record
      return record
    }
  }

  // MARK: Upgrades

  /// The state of every backend, for the new process.
  public var states: [BackendState] {
    content.withLock { content in
      content.backends.values.sorted { $0.id < $1.id }.map(\.state)
    }
  }

  /// Backends with current exchanges or relays, and their number.
  public var active: [(identity: BackendIdentity, count: Int)] {
    content.withLock { content in
      content.backends.values.filter { $0.activeCount != 0 }.map { ($0.identity, $0.activeCount) }
    }
  }

  /// Sets a backend's state to the one in the old process.
  public func restore(_ state: BackendState) {
    backend(pool: state.identity.pool, address: state.identity.address).restore(state)
  }

  /// Every backend's id is below this.
  public var backendCount: Int { content.withLock { $0.backends.count } }

  private static func pool(_ name: String, in content: inout Content) -> PoolRecord {
    if let known = content.pools[name] { return known }
    let record = PoolRecord(name: name)
    content.pools[name] = record
    return record
  }
}
