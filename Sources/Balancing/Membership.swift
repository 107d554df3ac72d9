// Which backends a pool consists of, in configured order: one immutable version, published whole by
// the configuration, and later by name resolution, admin and discovery.
//
// Tables that depend only on what is configured live here, because they must not move at a flip.

public import Primitives

/// A backend in a pool.
public struct Member: Sendable {
  public static let weightRange = 1...256

  public let record: BackendRecord
  public let address: BackendAddress
  /// Its share against the other members, 1-256, default 1.
  public let weight: Int
  /// Used only while no other member is available.
  public let isBackup: Bool
  /// The most exchanges at a time over the whole process; nil for no limit.
  public let maxConnections: Int?

  public init(
    record: BackendRecord, address: BackendAddress, weight: Int = 1, isBackup: Bool = false,
    maxConnections: Int? = nil
  ) {
    self.record = record
    self.address = address
    self.weight = Self.weightRange.clamping(weight)
    self.isBackup = isBackup
    self.maxConnections = maxConnections
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
  }

  /// Whether a member other than `record` may be used now without a trial.
  func hasAvailableMember(besides record: BackendRecord) -> Bool {
    members.contains { member in
      member.record !== record && member.record.isEnabled
        && member.record.health.state.isAvailable
    }
  }
}
