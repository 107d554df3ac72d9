// Weighted random: a random position in the tier's sequence, which contains each member as often as
// its weight.

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
