// Source-IP hash: a client's address leads to a place in a table over all *configured* members,
// where each stands as often as its weight says.
//
// The table knows nothing of health. When the member at a place is unavailable the address is
// hashed again, to another place; so only that member's clients move, they spread over all others,
// and they return when it does. A change of the members themselves moves many clients (a ring or
// Maglev table, a later strategy, moves few).

import Primitives

enum IPHash {
  /// Rehashes before the members are gone through one by one, from the last hash on.
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

  /// IPv6 clients count by their /64: the lower half is the host's own to choose, and changes.
  private static func place(_ client: IPAddress, round: Int, of count: Int) -> Int {
    let key = client.isV4 ? UInt64(client.v4) : client.high
    let hash = mix(mix(key) &+ UInt64(round) &* 0x9E37_79B9_7F4A_7C15)
    return Int(hash.multipliedFullWidth(by: UInt64(count)).high)
  }
}
