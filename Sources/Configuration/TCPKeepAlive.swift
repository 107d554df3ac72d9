// Probes on quiet connections, towards clients and towards backends.

public import Primitives

extension Configuration {
  /// TCP keep-alive (RFC 9293 3.8.4). Nothing of it is seen in HTTP.
  public struct TCPKeepAlive: Hashable, Sendable {
    /// Of quiet, before the first probe.
    public var idle = TimeSpan.seconds(60)
    /// Between two probes that go unanswered.
    public var interval = TimeSpan.seconds(15)
    /// Unanswered probes that end the connection.
    public var count = 4

    public init() {}
  }
}

extension Configuration.TCPKeepAlive: Section {
  static let title = "tcp-keep-alive"
  static let about = """
    Probes that the kernel sends on a quiet connection and the other kernel answers. A peer that \
    is gone without a word, such as a phone out of reach behind a WebSocket, is noticed after \
    `idle` and `count` times `interval`: two minutes by default. They also keep a flow in the \
    tables of whatever stands between: Azure's balancer forgets one after 4 minutes, those of \
    AWS after 350 seconds, and some routers at home after 2 minutes, hence the first probe after \
    one.
    """
  static let keys: [Key<Self>] = [
    Key(
      "idle", \.idle, .duration(.seconds(1) ... .seconds(9 * 3600)),
      "How long nothing is heard of the peer before the first probe, in whole seconds."),
    Key(
      "interval", \.interval, .duration(.seconds(1) ... .seconds(3600)),
      "Time between two probes while none is answered, in whole seconds."),
    Key("count", \.count, .integer(1...127), "Unanswered probes that end the connection."),
  ]
}
