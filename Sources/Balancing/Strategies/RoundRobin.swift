// Round robin, plain and weighted: one atomic cursor for the whole process runs over the level's
// sequence, so the shares are exact over all workers.
//
// If a proposal is turned down (full, or already tried), the pick takes the next turn of the cursor
// and not the next position of the sequence. So the load of that member goes to all others evenly.
// The next position would double the load of the neighbour.

import Primitives

enum RoundRobin {
  static func propose(step: Int, from level: Level) -> Int? {
    let count = level.sequence.count
    if count == 0 || step == Strategy.proposalMax { return nil }
    return level.sequence[level.turn(of: count)].index
  }
}
