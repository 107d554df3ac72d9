// The members of a pool in the order in which they are used: by tier, and within a tier those of
// the pool's own zone before the others.
//
// The lookup tables of strategies with affinity are here: they depend on the configuration only, so
// they are made with the members, on the control thread. They have the members in the bytewise
// order of their ids, so that they don't depend on the order in the configuration.

/// The members of a tier, or those of a tier in the own or in other zones.
struct MemberGroup: Sendable {
  let tier: Int
  /// Whether they are in the own zone; false as well if there is no preference.
  let isNear: Bool
  /// The indices of the members; for strategies with affinity by id.
  let indices: [Int]
  /// The table of ip-hash; empty for other strategies.
  let table: [Int]
  /// The table of Maglev, whose entries are in the order of `indices`; nil for other strategies.
  let maglev: MaglevTable?

  static func groups(
    _ members: [Member], of pool: PoolRecord, strategy: Strategy, zone: String
  ) -> [MemberGroup] {
    let lists = lists(members, zone: zone).map { list in
      var list = list
      if strategy.isSticky { list.indices.sort { isBefore(members, $0, $1) } }
      return list
    }
    var tables: [MaglevTable] = []
    if strategy == .maglev {
      tables = pool.maglevTables(
        of: lists.map { list in
          list.indices.map {
            MaglevTable.Entry(id: Array(members[$0].affinityID.utf8), weight: members[$0].weight)
          }
        })
    }
    return lists.enumerated().map { place, list in
      MemberGroup(
        tier: list.tier, isNear: list.isNear, indices: list.indices,
        table: strategy == .ipHash ? IPHash.table(list.indices, of: members) : [],
        maglev: tables.isEmpty ? nil : tables[place])
    }
  }

  private typealias List = (tier: Int, isNear: Bool, indices: [Int])

  private static func lists(_ members: [Member], zone: String) -> [List] {
    var lists: [List] = []
    for tier in Set(members.map(\.tier)).sorted() {
      for isNear in [true, false] {
        let indices = members.indices.filter {
          members[$0].tier == tier && (!zone.isEmpty && members[$0].zone == zone) == isNear
        }
        if !indices.isEmpty { lists.append((tier, isNear, indices)) }
      }
    }
    return lists.isEmpty ? [(0, false, [])] : lists
  }

  private static func isBefore(_ members: [Member], _ left: Int, _ right: Int) -> Bool {
    let (first, second) = (members[left].affinityID, members[right].affinityID)
    if first == second { return left < right }
    return first.utf8.lexicographicallyPrecedes(second.utf8)
  }
}
