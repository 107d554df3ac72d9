// The numbers by which a pool's health is judged, with their defaults and reasons.
//
// They are plain values that the configuration fills in; HealthState applies them. What isn't here:
// how often checks run and what they send, which is the checker's business.

public import Primitives

/// When a backend counts as down, and for how long.
public struct HealthPolicy: Equatable, Sendable {
  /// What a backend is taken for before its first check.
  public enum Initial: Sendable {
    /// Serves at once; `fall` failed checks take it out. The default, so that a start with slow
    /// checks doesn't begin with refusals.
    case up
    /// Serves from its first passed check on.
    case down
  }

  /// Passed checks in a row that bring a backend back; 1-255, default 2.
  public var rise = 2
  /// Failed checks in a row that take a backend out; 1-255, default 3, so that one pause of a
  /// garbage collector doesn't.
  public var fall = 3
  public var initial = Initial.up
  /// Failed exchanges in a row that eject a backend; 1-255, default 5, nil for never.
  public var failures: Int? = 5
  /// How long the first ejection lasts; the n-th in a row lasts n times as long. Default 10 s.
  public var ejectionBase = TimeSpan.seconds(10)
  /// The longest ejection; default 300 s.
  public var ejectionMax = TimeSpan.seconds(300)
  /// The share of failed exchanges that ejects a backend whose siblings fail at most half as often;
  /// in percent, default 50, nil for never.
  public var failurePercent: Int? = 50
  /// Over how long that share is taken; default 10 s.
  public var failureWindow = TimeSpan.seconds(10)
  /// Fewer exchanges than these say nothing about a share; default 20.
  public var failureRequestCount = 20
  /// The most members of a pool that may be ejected at once, in percent and rounded up: with the
  /// default of 50 one of two, two of three or four, three of five. What takes more of them down
  /// at once is rarely their own fault.
  public var ejectedPercentMax = 50

  public init() {}

  /// How many of `count` members may be ejected at once.
  func ejectedMax(of count: Int) -> Int { (count * ejectedPercentMax + 99) / 100 }

  /// How long the `count`-th ejection in a row lasts.
  func ejectionSpan(_ count: Int) -> TimeSpan {
    min(ejectionBase * Int64(count), ejectionMax)
  }
}

/// What a pool does when no member is healthy.
public enum AllDownPolicy: Sendable {
  /// Answers 503 with Retry-After. The default.
  case refuse
  /// Uses every enabled member as if it were healthy, because checks can be wrong as well.
  case failOpen
}
