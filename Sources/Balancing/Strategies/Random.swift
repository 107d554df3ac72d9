// Weighted random: a random position in the level's sequence, which contains each member as often
// as its weight.

import Primitives

enum Random {
  static func propose(
    step: Int, from level: Level, _ generator: inout RandomGenerator
  ) -> Int? {
    let count = level.sequence.count
    if count == 0 || step == Strategy.proposalMax { return nil }
    return level.sequence[generator.next(below: count)].index
  }
}
