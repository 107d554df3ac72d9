// The members of a pool if names share addresses, and the known state of members when a
// configuration is applied.

import Balancing
import Configuration
import Primitives
import Testing

@testable import Server

@Suite struct PoolMembersTests {
  private static let standard: Configuration = {
    var configuration = Configuration()
    configuration.listeners = []
    configuration.pools = [
      Configuration.Pool(
        name: "app",
        backends: [Configuration.Backend(.address(.ip(.loopbackV4, port: 9001)))])
    ]
    return configuration
  }()

  @Test func namesThatShareAnAddressAreOneMember() throws {
    let names = NameTable()
    var configuration = Self.standard
    func backend(_ name: String, weight: Int, isBackup: Bool = false) -> Configuration.Backend {
      var backend = Configuration.Backend(.name(name, port: 80), weight: weight)
      backend.isBackup = isBackup
      return backend
    }
    configuration.pools[0].backends = [
      backend("spare", weight: 1, isBackup: true), backend("one", weight: 2),
      backend("two", weight: 3),
    ]
    let (shared, other) = (IPAddress(v4: 1), IPAddress(v4: 2))
    names.restore("spare", [shared])
    names.restore("one", [shared, other])
    names.restore("two", [other])
    let pool = try SnapshotBuilder(workerCount: 1)
      .build(configuration, certificates: [:], names: names).pools[0].pool
    let members = pool.membership.members
    #expect(members.map(\.address.ip) == [shared, other])
    #expect(members.map(\.weight) == [2, 2])
    #expect(members.allSatisfy { !$0.isBackup })
  }

  @Test func allNodesCallAMemberByItsNameOrItsCanonicalAddress() throws {
    let names = NameTable()
    names.restore("several", [IPAddress(v4: 1), IPAddress(v4: 2)])
    names.restore("one", [IPAddress(v4: 3)])
    var configuration = Self.standard
    func backend(_ endpoint: Configuration.Endpoint, _ name: String?) -> Configuration.Backend {
      var backend = Configuration.Backend(endpoint)
      backend.name = name
      return backend
    }
    let mapped = try #require(IPAddress("::ffff:10.0.0.1"))
    let long = try #require(IPAddress("2001:0DB8:0:0:0:0:0:1"))
    configuration.pools[0].backends = [
      backend(.address(.ip(mapped, port: 80)), nil), backend(.address(.ip(long, port: 80)), nil),
      backend(.address(.unix("/run/a")), nil), backend(.address(.ip(long, port: 81)), "blue"),
      backend(.name("several", port: 80), "green"), backend(.name("one", port: 80), "red"),
    ]
    let pool = try SnapshotBuilder(workerCount: 1)
      .build(configuration, certificates: [:], names: names).pools[0].pool
    #expect(
      pool.membership.members.map(\.affinityID) == [
        "10.0.0.1:80", "[2001:db8::1]:80", "unix:/run/a", "blue", "green 0.0.0.1:80",
        "green 0.0.0.2:80", "red",
      ])
  }

  @Test func whatChecksSaidIsForgottenWhereThereAreNoneOnlyOnceThatIsInForce() throws {
    let builder = SnapshotBuilder(workerCount: 1)
    var configuration = Self.standard
    configuration.pools[0].health?.initially = .down
    func build() throws -> (snapshot: Snapshot, record: BackendRecord) {
      let snapshot = try builder.build(configuration, certificates: [:], names: NameTable())
      return (snapshot, snapshot.pools[0].pool.membership.members[0].record)
    }
    let record = try build().record
    #expect(record.standing(at: .origin) == .down)
    configuration.pools[0].health = nil
    let fresh = try build()
    #expect(fresh.record === record && record.standing(at: .origin) == .down)
    fresh.snapshot.forgetUnusedChecks()
    #expect(record.standing(at: .origin) == .available)
  }
}
