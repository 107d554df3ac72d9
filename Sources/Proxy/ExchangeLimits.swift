// The timeouts of one exchange, and the minimum rate of its client.

public import Primitives

/// The timeouts of one exchange.
public struct ExchangeLimits: Sendable {
  /// Until a slot becomes free in a full pool.
  public var queue: TimeSpan
  /// Until the connection is established.
  public var connect: TimeSpan
  /// From the end of the request to the head of the final response, for each attempt.
  public var response: TimeSpan
  /// The same for all attempts together.
  public var total: TimeSpan
  /// Between two pieces of a body that the client sends or receives.
  public var clientIdle: TimeSpan
  /// Between two pieces of a body that the backend sends or receives, and on a TCP connection of
  /// which one side has finished.
  public var idle: TimeSpan
  /// Without a byte in either direction on a relay.
  public var relayIdle: TimeSpan
  /// The minimum rate of a client that sends a body; nil for none.
  public var clientRate: MinimumRate?

  public static var unlimited: ExchangeLimits {
    let never = Instant.never - .origin
    return ExchangeLimits(
      connect: never, response: never, total: never, clientIdle: never, idle: never,
      relayIdle: never)
  }

  public init(
    queue: TimeSpan = .zero, connect: TimeSpan, response: TimeSpan, total: TimeSpan,
    clientIdle: TimeSpan, idle: TimeSpan, relayIdle: TimeSpan, clientRate: MinimumRate? = nil
  ) {
    self.queue = queue
    self.connect = connect
    self.response = response
    self.total = total
    self.clientIdle = clientIdle
    self.idle = idle
    self.relayIdle = relayIdle
    self.clientRate = clientRate
  }
}
