// Which backends a pool consists of, in configured order: one immutable version, published whole by
// the configuration, and later by name resolution, admin and discovery.
//
// Tables that depend only on what is configured live here, because they must not move at a flip.

public import Primitives

/// A backend in a pool. A class, so that whoever picks it keeps it by reference.
public final class Member: Sendable {
  public static let weightRange = 1...256

  public let record: BackendRecord
  public let address: BackendAddress
  /// What an HTTP check calls it in Host where the configuration doesn't say.
  public let checkHost: String
  /// Its share against the other members, 1-256, default 1.
  public let weight: Int
  /// Used only while no other member is available.
  public let isBackup: Bool
  /// The most exchanges at a time over the whole process; nil for no limit.
  public let maxConnections: Int?
  /// What clients that stick to this member call it; 0 for one that nobody sticks to. A backup has
  /// none: it stands in while the others are away, and isn't to keep their clients.
  public let stickyToken: UInt64

  public init(
    record: BackendRecord, address: BackendAddress, weight: Int = 1, isBackup: Bool = false,
    maxConnections: Int? = nil, stickyToken: UInt64 = 0, checkHost: String? = nil
  ) {
    self.record = record
    self.address = address
    self.checkHost = checkHost ?? record.identity.address
    self.weight = Self.weightRange.clamping(weight)
    self.isBackup = isBackup
    self.maxConnections = maxConnections
    self.stickyToken = isBackup ? 0 : stickyToken
  }

  /// The weight in force: the one set by hand, or the configured one.
  var currentWeight: Int { record.weightOverride ?? weight }
}

/// One version of a pool's members.
public final class Membership: Sendable {
  public let members: [Member]
  /// The indices of the ordinary members, and of the backups.
  let primaries: [Int]
  let backups: [Int]
  /// What ip-hash looks clients up in, for each of both; empty under other strategies.
  let primaryTable: [Int]
  let backupTable: [Int]
  /// The members that clients may stick to, by token.
  private let tokens: [UInt64: Int]

  init(_ members: [Member], strategy: Strategy) {
    self.members = members
    primaries = members.indices.filter { !members[$0].isBackup }
    backups = members.indices.filter { members[$0].isBackup }
    if strategy.isSticky {
      primaryTable = IPHash.table(primaries, of: members)
      backupTable = IPHash.table(backups, of: members)
    } else {
      primaryTable = []
      backupTable = []
    }
    tokens = Dictionary(
      members.indices.lazy.map { (members[$0].stickyToken, $0) }.filter { $0.0 != 0 },
      uniquingKeysWith: { first, _ in first })
  }

  /// Where the picked member stands in this version; nil when it has left.
  func index(of pick: borrowing Pick) -> Int? {
    let isThere = members.indices.contains(pick.index) && members[pick.index].record === pick.record
    return isThere ? pick.index : members.firstIndex { $0.record === pick.record }
  }

  /// The member that this token names, in this version.
  func index(ofToken token: UInt64) -> Int? { tokens[token] }

  /// Members whose ejection, or whose trial after it, isn't over.
  var ejectedCount: Int { members.count { $0.record.health.state.isEjected } }

  /// Whether a member other than `record` may be used now without a trial.
  func hasAvailableMember(besides record: BackendRecord) -> Bool {
    members.contains { member in
      member.record !== record && member.record.isEnabled
        && member.record.health.state.isAvailable
    }
  }
}
