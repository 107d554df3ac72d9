// The limits that decide about a pool's health, with their defaults and reasons.
//
// Plain values from the configuration; HealthState applies them. How often checks run and what they
// send is configured in the health checker.

public import Primitives

/// When a backend counts as down, and for how long.
public struct HealthPolicy: Equatable, Sendable {
  /// The state of a backend before its first check.
  public enum Initial: Sendable {
    /// Available at once; `fall` failed checks take it out. This is the default, so that no request
    /// is refused at start while the first checks run.
    case up
    /// Available from the first passed check on.
    case down
  }

  /// Consecutive passed checks that bring a backend back; 1-255, default 2.
  public var rise = 2
  /// Consecutive failed checks that take a backend out; 1-255, default 3, so that one pause of a
  /// garbage collector is not enough.
  public var fall = 3
  public var initial = Initial.up
  /// Consecutive failed exchanges that eject a backend; 1-255, default 5, nil for never.
  public var failures: Int? = 5
  /// How long the first ejection lasts; the n-th in a row lasts n times as long. Default 10 s.
  public var ejectionBase = TimeSpan.seconds(10)
  /// The longest ejection; default 300 s.
  public var ejectionMax = TimeSpan.seconds(300)
  /// The failure rate, in percent, that ejects a backend if the other members fail at most half as
  /// often. Default 50, nil for never.
  public var failurePercent: Int? = 50
  /// The time over which that rate is measured; default 10 s.
  public var failureWindow = TimeSpan.seconds(10)
  /// The minimum number of exchanges for a meaningful rate; default 20.
  public var failureRequestCount = 20
  /// The maximum of ejected members in a pool, in percent, rounded up: the default of 50 allows one
  /// of two, two of three or four, three of five. If more fail at once, they are rarely the cause
  /// themselves.
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
  /// The same for a pool of a TCP listener: resets connections.
  case reset
  /// The same for a pool of a UDP listener: drops datagrams.
  case drop
  /// Uses every enabled member as if it were healthy, because checks can be wrong as well.
  case failOpen
}
