// SnapshotBuilder: configured values of tiers, zones and strategies reach Balancing.

import Balancing
import Configuration

@testable import Server

extension SnapshotBuilderTests {
  static let balancing: [Row] = [
    Row("tier", "3", { $0.pools[0].backends[0].tier = 3 }) {
      "\($0.pools[0].pool.membership.members[0].tier)"
    },
    Row("zone of a backend", "eu", { $0.pools[0].backends[0].zone = "eu" }) {
      $0.pools[0].pool.membership.members[0].zone
    },
    Row("name of a backend", "one", { $0.pools[0].backends[0].name = "one" }) {
      $0.pools[0].pool.membership.members[0].affinityID
    },
    Row("zone", "eu", { $0.zone = "eu" }) { $0.pools[0].pool.failover.zone },
    Row(
      "zone of a pool", "us",
      {
        $0.zone = "eu"
        $0.pools[0].zone = "us"
      }
    ) { $0.pools[0].pool.failover.zone },
    Row(
      "failover factor", "Optional(150)",
      {
        $0.pools[0].failover = Configuration.Failover()
        $0.pools[0].failover?.factor = 150
      }
    ) { "\($0.pools[0].pool.failover.factor as Int?)" },
    Row(
      "panic", "Optional(40)",
      {
        $0.pools[0].failover = Configuration.Failover()
        $0.pools[0].failover?.panicPercent = 40
      }
    ) { "\($0.pools[0].pool.failover.panicPercent as Int?)" },
    Row("bounded load", "Optional(125)", { $0.pools[0].boundedLoad = 125 }) {
      "\($0.pools[0].pool.boundPercent as Int?)"
    },
    Row("hash key", "true", { $0.pools[0].hashKey = .cookie("sid") }) {
      "\($0.pools[0].pool.affinityKey == .cookie(Array("sid".utf8)))"
    },
  ]
}
