// Weighted random: a place of the tier's sequence by chance, where each member stands as often as
// its weight says.

import Primitives

enum Random {
  static func propose(
    step: Int, from tier: Tier, _ generator: inout RandomGenerator
  ) -> Int? {
    let count = tier.sequence.count
    if count == 0 || step == Strategy.proposalMax { return nil }
    return tier.sequence[generator.next(below: count)].index
  }
}
