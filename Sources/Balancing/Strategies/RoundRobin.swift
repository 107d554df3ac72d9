// Round robin, plain and weighted: one atomic cursor for the whole process runs over the tier's
// sequence, so the shares are exact over all workers in the order of their picks.
//
// A proposal that is turned down (full, or tried already) takes the next turn of the cursor rather
// than the next place of the sequence. So its share goes evenly to all others: handing it to the
// neighbour would double that one's load.

import Primitives

enum RoundRobin {
  static func propose(step: Int, from tier: Tier) -> Int? {
    let count = tier.sequence.count
    if count == 0 || step == Strategy.proposalMax { return nil }
    return tier.sequence[tier.turn(of: count)].index
  }
}
