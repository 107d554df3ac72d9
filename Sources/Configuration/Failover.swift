// How the tiers of a pool share the requests.

extension Configuration {
  /// Tiers that share.
  public struct Failover: Hashable, Sendable {
    /// In percent.
    public var factor = 140
    /// Nil for never.
    public var panicPercent: Int?

    public init() {}
  }
}

extension Configuration.Failover: Section {
  static let title = "failover"
  static let about = """
    How tiers of backends share the requests. A tier gets all requests while enough of its \
    backends are healthy. Otherwise it gets its healthy share, multiplied by `factor`, and the \
    rest goes to the next tier, by the same rule. Backends count by their weight; drained backends \
    count as unhealthy.
    """
  static let keys: [Key<Self>] = [
    Key(
      "factor", \.factor, .factor(100...1000),
      "With 1.4, a tier gets all requests while at least 72 % of it are healthy, and 70 % of the "
        + "requests if half of it is healthy. With 1, the next tier shares as soon as one backend "
        + "is unhealthy. The same factor decides about backends of the own `zone` within a tier; "
        + "without `failover` it is 1.4 there."),
    Key(
      "panic-percent", \.panicPercent, .off(or: .integer(1...100)),
      "If fewer than this percentage of the pool's backends are healthy, Martlet ignores their "
        + "health and uses all of them. Reason: if most backends seem to be down, the health "
        + "checks may be wrong, and the few others would be overloaded. Drained backends don't "
        + "count, and stay out of use. `when-all-down` has no effect then."),
  ]
}
