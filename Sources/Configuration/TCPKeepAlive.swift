// TCP keep-alive probes on idle connections to clients and backends.

public import Primitives

extension Configuration {
  /// TCP keep-alive (RFC 9293 3.8.4), which is invisible in HTTP.
  public struct TCPKeepAlive: Hashable, Sendable {
    /// Idle time before the first probe.
    public var idle = TimeSpan.seconds(60)
    /// Between two probes without a reply.
    public var interval = TimeSpan.seconds(15)
    /// Probes without a reply after which the connection is closed.
    public var count = 4

    public init() {}
  }
}

extension Configuration.TCPKeepAlive: Section {
  static let title = "tcp-keep-alive"
  static let about = """
    TCP keep-alive (RFC 9293, 3.8.4): probes that the kernel sends on an idle connection. A peer \
    that disappeared, such as a phone that lost its network, does not reply. The connection is \
    closed after `idle` plus `count` times `interval`: two minutes by default. Probes also keep \
    the connection alive in load balancers and routers on the path: Azure drops an idle connection \
    after 4 minutes, AWS after 350 seconds, some home routers after 2 minutes. This is why the \
    first probe is sent after one minute.
    """
  static let keys: [Key<Self>] = [
    Key(
      "idle", \.idle, .duration(.seconds(1) ... .seconds(9 * 3600)),
      "Time without data from the peer before the first probe, in whole seconds."),
    Key(
      "interval", \.interval, .duration(.seconds(1) ... .seconds(3600)),
      "Time between two probes if the peer does not reply, in whole seconds."),
    Key(
      "count", \.count, .integer(1...127),
      "Number of probes without a reply after which the connection is closed."),
  ]
}
