// Least connections: the member with the fewest current exchanges per weight, in the whole process.
//
// In a small pool all members are compared. In a large pool only five are, so that a pick costs the
// same with ten thousand members: the next one by weighted round robin, and four random ones. A
// member that is much busier than the others is then hardly ever picked (Mitzenmacher, The Power of
// Two Choices in Randomized Load Balancing, 2001). Equals take turns by weight, so an idle pool is
// used evenly and not always from the top. It doesn't consider how long exchanges last.

import Primitives

enum LeastConnections {
  /// The maximum of eligible members up to which all are compared.
  static let scannedMax = 16
  /// How many random members are compared in larger pools.
  private static let drawnCount = 4
  /// Counts may change between comparing and reserving. The comparison is repeated at most this
  /// often.
  private static let scanMax = 4

  static func propose(
    step: Int, from level: Level, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Int? {
    level.eligible.count <= scannedMax
      ? scan(step: step, level, excluding: tried)
      : draw(step: step, level, excluding: tried, &generator)
  }

  /// The least busy of a few. If all of those are full or were tried, the next one by round robin;
  /// selection then turns it down.
  private static func draw(
    step: Int, _ level: Level, excluding tried: TriedSet, _ generator: inout RandomGenerator
  ) -> Int? {
    if step == Strategy.proposalMax { return nil }
    let count = level.sequence.count
    var best = level.sequence[level.turn(of: count)]
    var least = load(of: best, in: level, excluding: tried)
    for _ in 0..<drawnCount {
      let candidate = level.sequence[generator.next(below: count)]
      guard let load = load(of: candidate, in: level, excluding: tried) else { continue }
      if least.map({ load < $0 }) ?? true {
        best = candidate
        least = load
      }
    }
    return best.index
  }

  private static func scan(step: Int, _ level: Level, excluding tried: TriedSet) -> Int? {
    if step == scanMax { return nil }
    var least: Load?
    var first = 0
    var equalWeights = 0
    for candidate in level.eligible {
      guard let load = load(of: candidate, in: level, excluding: tried) else { continue }
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

    var turn = level.turn(of: equalWeights)
    for candidate in level.eligible
    where load(of: candidate, in: level, excluding: tried) == least {
      if turn < candidate.weight { return candidate.index }
      turn -= candidate.weight
    }
    return first
  }

  /// Nil when it is full or was tried. It accesses the record through the array each time: a local
  /// variable would cost a retain and a release for each of perhaps ten thousand members.
  private static func load(
    of candidate: Candidate, in level: Level, excluding tried: TriedSet
  ) -> Load? {
    if !tried.isEmpty && tried.contains(level.members[candidate.index].record.id) { return nil }
    let active = level.members[candidate.index].record.activeCount
    if let limit = level.members[candidate.index].maxConnections, active >= limit { return nil }
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
