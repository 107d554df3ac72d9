// Maglev: the hash of a key selects a slot of a table of all *configured* members. Every node with
// the same members has the same table, so a key has the same member on every node.
//
// The table ignores health. If the member in a slot is unavailable, the next slot counts. Slots of
// one member lie scattered, so its keys spread over all others, and they return when it comes back.
// A change of the members moves few other keys, in contrast to ip-hash.

import Primitives

enum Maglev {
  /// How many slots are tried before the members are tried one by one.
  private static let walkMax = 64

  static func propose(
    step: Int, from level: Level, affinity: UInt64, _ generator: inout RandomGenerator
  ) -> Int? {
    guard let table = level.maglev, !table.isEmpty else { return nil }
    if step < walkMax {
      let hash = affinity == 0 ? generator.next() : affinity
      return level.configured[table.entry(of: hash, step: affinity == 0 ? 0 : step)]
    }
    let count = level.configured.count
    let offset = step - walkMax
    if offset >= count { return nil }
    return level.configured[(Int(affinity % UInt64(count)) + offset) % count]
  }
}
