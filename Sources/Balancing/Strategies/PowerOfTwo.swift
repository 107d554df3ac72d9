// Power of two choices: of two members drawn by weight, the one with fewer exchanges per weight,
// counting the new one (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
// Nearly as even as comparing all of them, at a cost that doesn't grow with the pool.
//
// If both are idle, the first one is used, so that an idle pool is used by weight.

import Primitives

enum PowerOfTwo {
  static func propose(
    step: Int, from level: Level, _ generator: inout RandomGenerator
  ) -> Int? {
    if step == Strategy.proposalMax { return nil }
    guard let (first, second) = level.pair(&generator) else { return nil }
    // After a refusal, the better one may be the one that refused.
    if step > 0 { return first.index }
    let active = level.members[first.index].record.activeCount
    let other = level.members[second.index].record.activeCount
    if active == 0 && other == 0 { return first.index }
    return (active + 1) * second.weight <= (other + 1) * first.weight ? first.index : second.index
  }
}

extension Level {
  /// Two places of the sequence at random, so two members by weight; nil if it is empty. With one
  /// place they are the same.
  func pair(_ generator: inout RandomGenerator) -> (Candidate, Candidate)? {
    let count = sequence.count
    if count == 0 { return nil }
    let first = generator.next(below: count)
    if count == 1 { return (sequence[0], sequence[0]) }
    var second = first + 1 + generator.next(below: count - 1)
    if second >= count { second -= count }
    return (sequence[first], sequence[second])
  }
}
