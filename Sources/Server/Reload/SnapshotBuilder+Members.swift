// The members of a pool from its configured backends and their resolved names, and how strategies
// are configured. It runs on the control thread, at a reload and when an address changes.

import Balancing
import Configuration
import Primitives
import TLS

extension SnapshotBuilder {
  /// The members of a pool: one per address of its backends. If names share an address, the first
  /// one counts, but one of an earlier tier has priority.
  func members(of pool: Configuration.Pool, _ names: NameTable) -> [Member] {
    let health = HealthPolicy(pool)
    var members: [Member] = []
    var indices: [SocketAddress: Int] = [:]
    for backend in pool.backends {
      let checkHost = backend.endpoint.host(port: pool.health?.port)
      let addresses = names.addresses(of: backend.endpoint)
      for address in addresses {
        let member = Member(
          record: registry.backend(pool: pool.name, address: "\(address)", health: health),
          address: address, weight: backend.weight, tier: backend.tierInForce,
          zone: backend.zone ?? "",
          affinityID: affinityID(of: backend, at: address, isOnly: addresses.count == 1),
          maxConnections: backend.maxConnections, stickyToken: stickyToken(of: address, in: pool),
          checkHost: checkHost,
          serverName: pool.tls?.serverName?.bracketless ?? backend.endpoint.serverName)
        if let index = indices[address] {
          if members[index].tier > member.tier { members[index] = member }
        } else {
          indices[address] = members.count
          members.append(member)
        }
      }
    }
    return members
  }

  /// What all nodes call a member: the name of its backend, with the address if there are several,
  /// or else the address, as RFC 5952 writes it.
  private func affinityID(
    of backend: Configuration.Backend, at address: SocketAddress, isOnly: Bool
  ) -> String {
    guard let name = backend.name else { return "\(address)" }
    return isOnly ? name : "\(name) \(address)"
  }

  /// What the cookie says in place of the address; 0 in pools without one.
  private func stickyToken(of address: SocketAddress, in pool: Configuration.Pool) -> UInt64 {
    guard let stickiness = pool.stickiness else { return 0 }
    let key = stickiness.key.map { Array($0.utf8) } ?? cookieKey
    return max(1, keyedDigest(Array("\(pool.name) \(address)".utf8), key: key))
  }
}

extension String {
  /// An IPv6 address without its brackets.
  fileprivate var bracketless: String {
    hasPrefix("[") && hasSuffix("]") ? String(dropFirst().dropLast()) : self
  }
}

extension Strategy {
  init(_ strategy: Configuration.Strategy) {
    self =
      switch strategy {
      case .roundRobin: .roundRobin
      case .weightedRoundRobin: .weightedRoundRobin
      case .leastConnections: .leastConnections
      case .random: .random
      case .ipHash: .ipHash
      case .maglev: .maglev
      case .powerOfTwo: .powerOfTwo
      case .leastTime: .leastTime
      }
  }
}

extension AffinityKey {
  init(_ key: Configuration.HashKey) {
    self =
      switch key {
      case .source: .source
      case .twoTuple: .twoTuple
      case .threeTuple: .threeTuple
      case .fiveTuple: .fiveTuple
      case .header(let name): .header(Array(name.utf8))
      case .cookie(let name): .cookie(Array(name.utf8))
      case .query(let name): .query(Array(name.utf8))
      }
  }
}

extension FailoverPolicy {
  /// - Parameter zone: the one of the whole configuration.
  init(_ pool: Configuration.Pool, zone: String) {
    self.init()
    factor = pool.failover?.factor
    panicPercent = pool.failover?.panicPercent
    self.zone = pool.zone ?? zone
  }
}
