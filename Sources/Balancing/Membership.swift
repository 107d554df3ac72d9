// The backends of a pool, in configured order: one immutable version, published as a whole by the
// configuration, name resolution, admin API or discovery.
//
// Tables that depend only on the configuration are here, because a health change must not rebuild
// them.

public import Primitives

/// A backend in a pool. A class, so that a pick holds a reference to it.
public final class Member: Sendable {
  public static let weightRange = 1...256

  public let record: BackendRecord
  public let address: BackendAddress
  /// The Host field of an HTTP check, if the configuration doesn't set it.
  public let checkHost: String
  /// The host name or IP address that its certificate must have, in a pool with TLS.
  public let serverName: String
  /// Its share relative to the other members, 1-256, default 1.
  public let weight: Int
  /// The lower tiers are used first: 0 for the primary members.
  public let tier: Int
  /// Where it runs, for the preference of a pool's own zone; empty if unknown.
  public let zone: String
  /// What all nodes call it, for strategies with affinity: its name, or its canonical address.
  public let affinityID: String
  /// The maximum of concurrent exchanges in the whole process; nil for no limit.
  public let maxConnections: Int?
  /// The token in the cookies of clients that stick to this member; 0 if none do. A member of a
  /// later tier has none: it replaces the others for a time and should not keep their clients.
  public let stickyToken: UInt64

  public init(
    record: BackendRecord, address: BackendAddress, weight: Int = 1, tier: Int = 0,
    zone: String = "", affinityID: String? = nil, maxConnections: Int? = nil,
    stickyToken: UInt64 = 0, checkHost: String? = nil, serverName: String = ""
  ) {
    self.record = record
    self.address = address
    self.serverName = serverName
    self.checkHost = checkHost ?? record.identity.address
    self.weight = Self.weightRange.clamping(weight)
    self.tier = tier
    self.zone = zone
    self.affinityID = affinityID ?? "\(address)"
    self.maxConnections = maxConnections
    self.stickyToken = tier > 0 ? 0 : stickyToken
  }

  /// Whether it serves only in place of others.
  public var isBackup: Bool { tier > 0 }

  /// The weight in use: the operator's override, or the configured one.
  var currentWeight: Int { record.weightOverride ?? weight }
}

/// One version of a pool's members.
public final class Membership: Sendable {
  public let members: [Member]
  /// In the order in which they are used; at least one, which may be empty.
  let groups: [MemberGroup]
  /// The members that clients may stick to, by token.
  private let tokens: [UInt64: Int]

  /// - Parameter zone: the pool's own; empty for no preference.
  init(_ members: [Member], of pool: PoolRecord, strategy: Strategy, zone: String = "") {
    self.members = members
    groups = MemberGroup.groups(members, of: pool, strategy: strategy, zone: zone)
    tokens = Dictionary(
      members.indices.lazy.map { (members[$0].stickyToken, $0) }.filter { $0.0 != 0 },
      uniquingKeysWith: { first, _ in first })
  }

  /// The index of the picked member in this version; nil when it was removed.
  func index(of pick: borrowing Pick) -> Int? {
    let isThere = members.indices.contains(pick.index) && members[pick.index].record === pick.record
    return isThere ? pick.index : members.firstIndex { $0.record === pick.record }
  }

  /// The member with this token in this version.
  func index(ofToken token: UInt64) -> Int? { tokens[token] }

  /// The number of members that are ejected or on trial after an ejection.
  var ejectedCount: Int { members.count { $0.record.health.state.isEjected } }

  /// Whether a member other than `record` is available without a trial.
  func hasAvailableMember(besides record: BackendRecord) -> Bool {
    members.contains { member in
      member.record !== record && member.record.isEnabled
        && member.record.health.state.isAvailable
    }
  }
}
