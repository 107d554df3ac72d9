// The closed set of strategies. A strategy only proposes members, in its own order; whether one may
// be used is selection's business. How to add one: docs/adding-a-strategy.md.

import Primitives

/// How a pool spreads exchanges over its members.
public enum Strategy: Equatable, CaseIterable, Sendable {
  /// Each in turn, whatever the weights.
  case roundRobin
  /// Each in turn, as often as its weight says, evenly interleaved.
  case weightedRoundRobin
  /// The one with the fewest exchanges under way for its weight.
  case leastConnections
  /// By chance, in proportion to the weights.
  case random
  /// The same client address to the same member, as long as that one is available.
  case ipHash

  /// As in the configuration, logs and metrics.
  public var name: StaticString {
    switch self {
    case .roundRobin: "round-robin"
    case .weightedRoundRobin: "weighted-round-robin"
    case .leastConnections: "least-connections"
    case .random: "random"
    case .ipHash: "ip-hash"
    }
  }

  /// The strategy called `name`, or nil.
  public init?(name: String) {
    guard let match = Self.allCases.first(where: { "\($0.name)" == name }) else { return nil }
    self = match
  }

  /// The index of the member to try next in `tier`, or nil when there is no further proposal.
  /// `step` counts the proposals of this pick that were turned down.
  func propose(
    step: Int, from tier: Tier, excluding tried: TriedSet, client: IPAddress?,
    _ generator: inout RandomGenerator
  ) -> Int? {
    switch self {
    case .roundRobin, .weightedRoundRobin:
      RoundRobin.propose(step: step, from: tier)
    case .leastConnections:
      LeastConnections.propose(step: step, from: tier, excluding: tried, &generator)
    case .random:
      Random.propose(step: step, from: tier, &generator)
    case .ipHash:
      IPHash.propose(step: step, from: tier, client: client, &generator)
    }
  }

  /// The proposals that a strategy makes by luck or by turn before selection goes through the
  /// members one by one. With half of them full, one pick in 65,536 comes to that.
  static let proposalMax = 16

  var usesWeights: Bool { self != .roundRobin }

  /// Whether it draws from the tier's sequence, with so many members eligible.
  func usesSequence(among count: Int) -> Bool {
    switch self {
    case .roundRobin, .weightedRoundRobin, .random: true
    case .leastConnections: count > LeastConnections.scannedMax
    case .ipHash: false
    }
  }

  /// Whether a client belongs to a member. Its trial then waits for a client of its own.
  var isSticky: Bool { self == .ipHash }
}
