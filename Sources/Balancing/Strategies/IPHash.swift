// Source-IP hash: a client's address selects a position in a table of all *configured* members, in
// which each occurs as often as its weight.
//
// The table ignores health. When the member at a position is unavailable, the address is hashed
// again, to another position. So only that member's clients move, they spread over all others, and
// they return when it comes back. A change of the members themselves moves many clients (maglev
// moves few). The table has the members in the order of their ids, so nodes with the same members
// agree.

import Primitives

enum IPHash {
  /// How often an address is rehashed before the members are tried one by one, from the last hash
  /// on.
  private static let rehashMax = 20

  static func table(_ indices: [Int], of members: [Member]) -> [Int] {
    SmoothSequence.period(
      of: indices.map { Candidate(index: $0, weight: members[$0].weight) }
    ).map(\.index)
  }

  static func propose(
    step: Int, from level: Level, affinity: UInt64, _ generator: inout RandomGenerator
  ) -> Int? {
    if level.table.isEmpty { return nil }
    if step < rehashMax {
      if affinity == 0 { return level.table[generator.next(below: level.table.count)] }
      return level.table[place(affinity, round: step, of: level.table.count)]
    }
    let count = level.configured.count
    let offset = step - rehashMax
    if offset >= count { return nil }
    let first = place(affinity, round: rehashMax, of: count)
    return level.configured[(first + offset) % count]
  }

  /// IPv6 clients count by their /64: the host chooses the lower half itself, and changes it.
  /// Never 0, which means no address.
  static func hash(_ client: IPAddress) -> UInt64 {
    max(1, mix(client.isV4 ? UInt64(client.v4) : client.high))
  }

  private static func place(_ affinity: UInt64, round: Int, of count: Int) -> Int {
    let hash = mix(affinity &+ UInt64(round) &* 0x9E37_79B9_7F4A_7C15)
    return Int(hash.multipliedFullWidth(by: UInt64(count)).high)
  }
}
