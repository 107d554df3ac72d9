// Finds the records that outlive reloads. Used at start, at a reload and when discovery changes the
// members, but not on the request path, so a lock is fine.
//
// A backend that leaves and comes back keeps its drain and its ejection while it is among the last
// that left. DNS names may resolve to new addresses every minute for years, so older backends are
// forgotten. A record lives on while anything still uses it, and its id is free after that.

import Synchronization

/// The configured pools and backends, and earlier ones, by identity.
public final class BackendRegistry: Sendable {
  private struct Content {
    var pools: [String: PoolRecord] = [:]
    var backends: [BackendIdentity: BackendRecord] = [:]
    /// Backends that are members of no pool, in the order in which they left.
    var left: [BackendRecord] = []
  }

  /// How many backends are remembered after they have left.
  public static let leftMax = 1024

  private let content = Mutex(Content())
  private let ids = BackendIDs()

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
        ids: ids, identity: identity, pool: Self.pool(name, in: &content),
        health: health)
      content.backends[identity] = record
      return record
    }
  }

  // MARK: Leaving

  /// Treats the members of `pools` as the only ones. Forgets backends that left before the last
  /// `leftMax` that left, and returns them.
  public func settle(on pools: [Pool]) -> [BackendRecord] {
    let members = pools.flatMap { $0.membership.members.map(\.record) }
    let names = Set(pools.map(\.name))
    return content.withLock { content in
      let current = Set(members.map(\.id))
      let known = Set(content.left.map(\.id))
      content.left.removeAll { current.contains($0.id) }
      content.left += content.backends.values
        .filter { !current.contains($0.id) && !known.contains($0.id) }.sorted { $0.id < $1.id }
      var excess = content.left.count - Self.leftMax
      var forgotten: [BackendRecord] = []
      content.left.removeAll { record in
        // For example, a WebSocket may stay open for days.
        if excess <= 0 || record.activeCount > 0 { return false }
        excess -= 1
        forgotten.append(record)
        return true
      }
      if forgotten.isEmpty { return [] }
      for record in forgotten { content.backends[record.identity] = nil }
      let used = names.union(content.backends.keys.map(\.pool))
      content.pools = content.pools.filter { used.contains($0.key) || $0.value.line.count > 0 }
      return forgotten
    }
  }

  /// The content at one moment, to undo the changes of a configuration that is refused.
  public struct Mark: Sendable {
    let backends: Set<BackendIdentity>
    let pools: Set<String>
  }

  public var mark: Mark {
    content.withLock { Mark(backends: Set($0.backends.keys), pools: Set($0.pools.keys)) }
  }

  /// Forgets what was created since then: the configuration was refused, and another one may start
  /// these backends in another way.
  public func forget(since mark: Mark) {
    content.withLock { content in
      content.backends = content.backends.filter { mark.backends.contains($0.key) }
      content.pools = content.pools.filter { mark.pools.contains($0.key) }
    }
  }

  // MARK: Upgrade

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

  /// The members and those that are remembered.
  public var identities: [BackendIdentity] { content.withLock { Array($0.backends.keys) } }

  /// Every id is below this.
  public var idCount: Int { ids.count }

  private static func pool(_ name: String, in content: inout Content) -> PoolRecord {
    if let known = content.pools[name] { return known }
    let record = PoolRecord(name: name)
    content.pools[name] = record
    return record
  }
}
