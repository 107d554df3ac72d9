// Source-IP hash: a client's address selects a position in a table of all *configured* members, in
// which each occurs as often as its weight.
//
// The table ignores health. When the member at a position is unavailable, the address is hashed
// again, to another position. So only that member's clients move, they spread over all others, and
// they return when it comes back. A change of the members themselves moves many clients (a ring or
// Maglev table would move few).

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
    step: Int, from tier: Tier, client: IPAddress?, _ generator: inout RandomGenerator
  ) -> Int? {
    if tier.table.isEmpty { return nil }
    if step < rehashMax {
      guard let client else { return tier.table[generator.next(below: tier.table.count)] }
      return tier.table[place(client, round: step, of: tier.table.count)]
    }
    let count = tier.configured.count
    let offset = step - rehashMax
    if offset >= count { return nil }
    let first = client.map { place($0, round: rehashMax, of: count) } ?? 0
    return tier.configured[(first + offset) % count]
  }

  /// IPv6 clients count by their /64: the host chooses the lower half itself, and changes it.
  private static func place(_ client: IPAddress, round: Int, of count: Int) -> Int {
    let key = client.isV4 ? UInt64(client.v4) : client.high
    let hash = mix(mix(key) &+ UInt64(round) &* 0x9E37_79B9_7F4A_7C15)
    return Int(hash.multipliedFullWidth(by: UInt64(count)).high)
  }
}
