// Checks of tiers, zones, and what only some strategies use.

extension Configuration {
  func checkBalancing(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    checkTiers(of: pool, path, &decoder)
    checkNames(of: pool, path, &decoder)
    checkZones(of: pool, path, &decoder)
    if decoder.has("\(path).hash-key") && pool.strategy != .maglev {
      decoder.report(
        key: "\(path).hash-key", "only the strategy maglev uses it",
        suggestion: "\"strategy\": \"maglev\"")
    }
    guard pool.boundedLoad != nil else { return }
    if !pool.strategy.hasAffinity {
      decoder.report(
        key: "\(path).bounded-load",
        "only the strategies maglev and ip-hash use it; the others balance the load anyway")
    }
    if pool.stickiness != nil {
      decoder.report(
        key: "\(path).bounded-load",
        "not allowed together with stickiness: the cookie keeps a client on its backend,"
          + " whatever the load")
    }
  }

  private func checkTiers(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    for (index, backend) in pool.backends.enumerated()
    where backend.tier != nil && decoder.has("\(path).backends[\(index)].backup") {
      decoder.report(
        key: "\(path).backends[\(index)].backup",
        "not allowed together with tier; backup is the same as \"tier\": 1")
    }
    let tiers = Set(pool.backends.map(\.tierInForce))
    if tiers.isEmpty { return }
    if pool.backends.allSatisfy(\.isBackup) {
      decoder.report(
        key: "\(path).backends", "all backends are backups; at least one must not be a backup")
    } else if !tiers.contains(0) {
      decoder.report(
        key: "\(path).backends", "no backend has tier 0; at least one backend needs it")
    }
    if let failover = pool.failover, failover.panicPercent == nil, tiers.count == 1,
      !pool.backends.contains(where: { $0.zone != nil })
    {
      decoder.report(
        key: "\(path).failover", "it has no effect, because all backends have the same tier",
        severity: .warning)
    }
  }

  private func checkNames(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    var seen: [String: Int] = [:]
    for (index, backend) in pool.backends.enumerated() {
      guard let name = backend.name else { continue }
      if let first = seen[name] {
        decoder.report(
          key: "\(path).backends[\(index)].name",
          "backends[\(first)] has the name \"\(name)\" too; names must be unique in a pool")
      } else {
        seen[name] = index
      }
    }
  }

  private func checkZones(of pool: Pool, _ path: String, _ decoder: inout Decoder) {
    let zones = pool.backends.indices.filter { pool.backends[$0].zone != nil }
    guard let first = zones.first else { return }
    if zone == nil && pool.zone == nil && !decoder.has("zone") && !decoder.has("\(path).zone") {
      decoder.report(
        key: "\(path).backends[\(first)].zone",
        "it has no effect without zone at the top level, which says where this Martlet runs",
        severity: .warning)
    } else if pool.strategy.hasAffinity {
      decoder.report(
        key: "\(path).strategy",
        "nodes in different zones prefer different backends, so they don't agree about the"
          + " backend of a key", severity: .warning)
    }
  }
}
