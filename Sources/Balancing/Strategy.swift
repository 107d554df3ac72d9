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
  /// The same key to the same member on every node, while that member is available. A change of the
  /// members moves few keys.
  case maglev
  /// Of two at random, the one with the fewest current exchanges for its weight.
  case powerOfTwo
  /// Of two at random, the one that is expected to respond sooner.
  case leastTime

  /// As in the configuration, logs and metrics.
  public var name: StaticString {
    switch self {
    case .roundRobin: "round-robin"
    case .weightedRoundRobin: "weighted-round-robin"
    case .leastConnections: "least-connections"
    case .random: "random"
    case .ipHash: "ip-hash"
    case .maglev: "maglev"
    case .powerOfTwo: "power-of-two"
    case .leastTime: "least-time"
    }
  }

  /// The strategy called `name`, or nil.
  public init?(name: String) {
    guard let match = Self.allCases.first(where: { "\($0.name)" == name }) else { return nil }
    self = match
  }

  /// The index of the member to try next in `level`, or nil when there is no further proposal.
  /// `step` counts the proposals of this pick that were turned down. `affinity` is the hash of the
  /// key for strategies with affinity; 0 without a key.
  func propose(
    step: Int, from level: Level, excluding tried: TriedSet, affinity: UInt64, at now: Instant,
    _ generator: inout RandomGenerator
  ) -> Int? {
    switch self {
    case .roundRobin, .weightedRoundRobin:
      RoundRobin.propose(step: step, from: level)
    case .leastConnections:
      LeastConnections.propose(step: step, from: level, excluding: tried, &generator)
    case .random:
      Random.propose(step: step, from: level, &generator)
    case .ipHash:
      IPHash.propose(step: step, from: level, affinity: affinity, &generator)
    case .maglev:
      Maglev.propose(step: step, from: level, affinity: affinity, &generator)
    case .powerOfTwo:
      PowerOfTwo.propose(step: step, from: level, &generator)
    case .leastTime:
      LeastTime.propose(step: step, from: level, at: now, &generator)
    }
  }

  /// How many proposals a strategy makes at random or in turn before selection tries the members
  /// one by one. If half of the members are full, one pick in 65,536 gets there.
  static let proposalMax = 16

  var usesWeights: Bool { self != .roundRobin }

  /// Whether it uses the level's sequence, with `count` eligible members.
  func usesSequence(among count: Int) -> Bool {
    switch self {
    case .roundRobin, .weightedRoundRobin, .random, .powerOfTwo, .leastTime: true
    case .leastConnections: count > LeastConnections.scannedMax
    case .ipHash, .maglev: false
    }
  }

  /// Whether the strategy binds clients to members. A member's trial then waits for one of its own
  /// clients.
  public var isSticky: Bool { self == .ipHash || self == .maglev }

  /// The hash by which a strategy with affinity selects a member: that of the request's or the
  /// connection's key, or else of the client's address; 0 for other strategies, and without either.
  /// ip-hash always uses the address.
  func affinity(of key: UInt64, client: IPAddress?) -> UInt64 {
    switch self {
    case .ipHash: client.map(IPHash.hash) ?? 0
    case .maglev: key != 0 ? key : client.map(AffinityKey.hash(ofSource:)) ?? 0
    case .roundRobin, .weightedRoundRobin, .leastConnections, .random, .powerOfTwo, .leastTime: 0
    }
  }
}
