// The fixed set of strategies. A strategy only proposes members, in its own order; selection
// decides whether one may be used. How to add one: docs/adding-a-strategy.md.

import Primitives

/// How a pool distributes exchanges over its members.
public enum Strategy: Equatable, CaseIterable, Sendable {
  /// Each in turn, ignoring weights.
  case roundRobin
  /// Each in turn, as often as its weight, evenly interleaved.
  case weightedRoundRobin
  /// The one with the fewest current exchanges for its weight.
  case leastConnections
  /// At random, in proportion to the weights.
  case random
  /// The same client address to the same member, while that member is available.
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

  /// How many proposals a strategy makes at random or in turn before selection tries the members
  /// one by one. If half of the members are full, one pick in 65,536 gets there.
  static let proposalMax = 16

  var usesWeights: Bool { self != .roundRobin }

  /// Whether it uses the tier's sequence, with `count` eligible members.
  func usesSequence(among count: Int) -> Bool {
    switch self {
    case .roundRobin, .weightedRoundRobin, .random: true
    case .leastConnections: count > LeastConnections.scannedMax
    case .ipHash: false
    }
  }

  /// Whether the strategy binds clients to members. A member's trial then waits for one of its own
  /// clients.
  var isSticky: Bool { self == .ipHash }
}
