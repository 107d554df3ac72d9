// Failover between the levels of a pool: how large a share each one gets, depending on how much of
// it is healthy.
//
// A level whose healthy share is above 1 / factor gets everything that reaches it. Below that it
// gets its healthy share times the factor, and the rest goes to the next level, by the same rule.
// This is Envoy's rule for priorities, with the weights of the members in place of their number.

import Primitives

/// The rules of a pool.
public struct FailoverPolicy: Equatable, Sendable {
  /// 1.4: a level gets everything while 72 % of it are healthy.
  public static let standardFactor = 140

  /// In percent: the factor by which tiers share. Nil: a tier is used only while no member of an
  /// earlier one is available.
  public var factor: Int?
  /// Below this share of healthy members, in percent, health doesn't count; nil for never.
  public var panicPercent: Int?
  /// The own zone, whose members are preferred within a tier; empty for no preference.
  public var zone = ""

  public init() {}

  /// Whether too few of the enabled members are healthy. Those that an operator has drained don't
  /// count.
  func isPanic(_ members: [Member]) -> Bool {
    guard let panicPercent else { return false }
    let enabled = members.filter { $0.record.isEnabled }
    let healthy = enabled.count { $0.record.health.state.isAvailable }
    return !enabled.isEmpty && healthy * 100 < enabled.count * panicPercent
  }
}

/// Where exchanges begin to look for a member, if not always at the first level.
struct LevelShares: Equatable, Sendable {
  /// A level: its tier, and the weights of its members that are healthy, and of all.
  struct Part {
    let tier: Int
    let healthy: Int
    let all: Int
  }

  /// The whole.
  static let unit = 1_000_000

  /// The share of each level.
  let values: [Int]

  /// Nil if everything goes to the first level that has a healthy member.
  init?(_ parts: [Part], _ policy: FailoverPolicy) {
    let factor = policy.factor ?? FailoverPolicy.standardFactor
    let firstTier = parts.first { $0.healthy > 0 }?.tier
    let health = parts.map { part in
      // Without a factor, only the zones of one tier share.
      if part.all == 0 || policy.factor == nil && part.tier != firstTier { return 0 }
      return min(Self.unit, part.healthy * Self.unit / part.all * factor / 100)
    }
    let whole = min(Self.unit, health.reduce(0, +))
    if whole == 0 { return nil }
    var rest = Self.unit
    var values: [Int] = []
    for health in health {
      let share = min(rest, health * Self.unit / whole)
      rest -= share
      values.append(share)
    }
    // What was lost by rounding.
    guard let first = values.firstIndex(where: { $0 > 0 }) else { return nil }
    values[first] += rest
    if values[first] == Self.unit && !parts[..<first].contains(where: { $0.healthy > 0 }) {
      return nil
    }
    self.values = values
  }

  /// The number for the hash of a key, independent of what the strategy makes of it.
  static func number(for affinity: UInt64) -> UInt64 {
    var hash = StableHash(.level)
    hash.add(affinity)
    return hash.value
  }

  /// The level for a number between 0 and 2^64.
  func level(of number: UInt64) -> Int {
    var rest = Int(number.multipliedFullWidth(by: UInt64(Self.unit)).high)
    for (level, share) in values.enumerated() {
      if rest < share { return level }
      rest -= share
    }
    return 0
  }
}
