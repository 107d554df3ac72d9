// Least connections: the member with the smallest number of exchanges under way per weight, over
// the whole process.
//
// Of a few members all are looked at. Of many only some are, so that a pick costs the same in a
// pool of ten thousand: the one whose turn it is by weighted round robin, and four by chance. Who
// is much busier than the others hardly ever wins against four (Mitzenmacher, The Power of Two
// Choices in Randomized Load Balancing, 2001). Equals take turns by their weights either way, so an
// idle pool is used evenly instead of always from the top. What it doesn't do: count how long
// exchanges last, or queue.

import Primitives

enum LeastConnections {
  /// The most eligible members of which all are looked at.
  static let scannedMax = 16
  /// How many are drawn by chance in larger pools.
  private static let drawnCount = 4
  /// The counts may have moved between looking and reserving; then it looks again, so often.
  private static let scanMax = 4

  static func propose(
    step: Int, from tier: Tier, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Int? {
    tier.eligible.count <= scannedMax
      ? scan(step: step, tier, excluding: tried)
      : draw(step: step, tier, excluding: tried, &generator)
  }

  /// The least of a few. When all of those are full or were tried, the one whose turn it is, to be
  /// turned down.
  private static func draw(
    step: Int, _ tier: Tier, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Int? {
    if step == Strategy.proposalMax { return nil }
    let count = tier.sequence.count
    var best = tier.sequence[tier.turn(of: count)]
    var least = load(of: best, in: tier, excluding: tried)
    for _ in 0..<drawnCount {
      let candidate = tier.sequence[generator.next(below: count)]
      guard let load = load(of: candidate, in: tier, excluding: tried) else { continue }
      if least.map({ load < $0 }) ?? true {
        best = candidate
        least = load
      }
    }
    return best.index
  }

  private static func scan(step: Int, _ tier: Tier, excluding tried: TriedSet) -> Int? {
    if step == scanMax { return nil }
    var least: Load?
    var first = 0
    var equalWeights = 0
    for candidate in tier.eligible {
      guard let load = load(of: candidate, in: tier, excluding: tried) else { continue }
      if let least, load == least {
        equalWeights += candidate.weight
      } else if least.map({ load < $0 }) ?? true {
        least = load
        first = candidate.index
        equalWeights = candidate.weight
      }
    }
    guard let least else { return nil }
    if equalWeights == least.weight { return first }

    var turn = tier.turn(of: equalWeights)
    for candidate in tier.eligible
    where load(of: candidate, in: tier, excluding: tried) == least {
      if turn < candidate.weight { return candidate.index }
      turn -= candidate.weight
    }
    return first
  }

  /// Nil when it is full or was tried. It reaches through the array each time, since naming the
  /// record first costs a retain and release for each of perhaps ten thousand members.
  private static func load(
    of candidate: Candidate, in tier: Tier, excluding tried: TriedSet
  ) -> Load? {
    if !tried.isEmpty && tried.contains(tier.members[candidate.index].record.id) { return nil }
    let active = tier.members[candidate.index].record.activeCount
    if let limit = tier.members[candidate.index].maxConnections, active >= limit { return nil }
    return Load(active: active, weight: candidate.weight)
  }

  /// active / weight, compared without dividing.
  private struct Load: Comparable {
    let active: Int
    let weight: Int

    static func == (left: Load, right: Load) -> Bool {
      left.active * right.weight == right.active * left.weight
    }

    static func < (left: Load, right: Load) -> Bool {
      left.active * right.weight < right.active * left.weight
    }
  }
}
