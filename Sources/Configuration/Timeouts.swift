// Timeouts for a pool's backends, and how long idle connections to them stay open.

public import Primitives

extension Configuration {
  /// Timeouts for backends. None of them limits the total time of a body.
  public struct Timeouts: Hashable, Sendable {
    /// For a connection to a backend.
    public var connect = TimeSpan.seconds(3)
    /// For one attempt: from the end of the request to the first byte of the response.
    public var response = TimeSpan.seconds(30)
    /// For all attempts together: from the request's head to the response's head. The time in which
    /// Martlet waits for the client's body doesn't count.
    public var request = TimeSpan.seconds(60)
    /// Without a byte in either direction, while a body is sent, or after one side of a TCP
    /// connection has finished; nil for the default, see `idleTime`.
    public var idle: TimeSpan?
    /// For a whole call of gRPC, whatever its client asks for; nil for no maximum.
    public var grpcMax: TimeSpan?
    /// Without a byte in either direction on a relay; nil for the default, see `relayIdleTime`.
    public var relayIdle: TimeSpan?

    public init() {}

    /// `isTCP`: of the pool of a TCP listener.
    public func idleTime(isTCP: Bool) -> TimeSpan { idle ?? .seconds(isTCP ? 30 : 60) }
    public func relayIdleTime(isTCP: Bool) -> TimeSpan { relayIdle ?? .seconds(isTCP ? 300 : 3600) }
  }

  /// Idle connections to backends.
  public struct KeepAlive: Hashable, Sendable {
    public var idle = TimeSpan.seconds(4)
    /// Per backend and worker; 0 closes every connection after its exchange.
    public var maxIdle = 64
    /// Nil for any age.
    public var maxAge: TimeSpan?

    public init() {}
  }
}

extension Configuration.Timeouts: Section {
  static let title = "timeouts"
  static let about = """
    Timeouts for backends. Downloads and streams have no time limit while data flows.
    """
  static let keys: [Key<Self>] = [
    Key(
      "connect", \.connect, .duration(.milliseconds(10) ... .seconds(300)),
      "Timeout for a connection to a backend. Then another backend is tried. Default: 3s, enough "
        + "for one lost packet."),
    Key(
      "response", \.response, .duration(.milliseconds(10) ... .seconds(86_400)),
      "Timeout for one attempt: from the end of the request to the first byte of the response."),
    Key(
      "request", \.request, .duration(.milliseconds(10) ... .seconds(86_400)),
      "Timeout for a request with all its attempts, until the response begins. Then the client "
        + "gets 504. Time in which Martlet waits for the client's body does not count."),
    Key(
      "idle", optional: \.idle, .duration(.milliseconds(10) ... .seconds(86_400)),
      "Maximum time without data while a request body or a response body is sent. Default: 60s. "
        + "For gRPC, also "
        + "the maximum pause of a stream: raise it for streams that are quiet for long. In the "
        + "pool of a TCP listener, the maximum time without data after one side has finished "
        + "sending, by default 30s."),
    Key(
      "grpc-max", \.grpcMax, .off(or: .duration(.milliseconds(10) ... .seconds(7 * 86_400))),
      "Maximum duration of a gRPC call, streams included. It is the deadline of calls without "
        + "`grpc-timeout`, or with a later one. Then the client gets the status 4 "
        + "(DEADLINE_EXCEEDED)."),
    Key(
      "relay-idle", optional: \.relayIdle, .duration(.seconds(1) ... .seconds(7 * 86_400)),
      "Maximum time without data on an upgraded connection, and on a connection of a TCP listener. "
        + "Default: 1h, because a WebSocket may be idle for long and still be in use; 5m in the "
        + "pool of a TCP listener, where both sides get a reset."),
  ]
}

extension Configuration.KeepAlive: Section {
  static let title = "keep-alive"
  static let about = "Connections to backends that stay open for the next request."
  static let keys: [Key<Self>] = [
    Key(
      "idle", \.idle, .duration(.zero ... .seconds(86_400)),
      "How long a connection stays open without a request. Set it lower than the backend's own "
        + "keep-alive timeout. Default: 4s, because Node.js, Apache and other servers close "
        + "after 5s."),
    Key(
      "max-idle", \.maxIdle, .integer(0...10_000),
      "Maximum number of idle connections, per backend and worker. `0` opens a new connection "
        + "for each request."),
    Key(
      "max-age", \.maxAge, .off(or: .duration(.seconds(1) ... .seconds(7 * 86_400))),
      "Age after which a connection takes no more requests; those in progress finish. It varies "
        + "by 10 % in both directions. With HTTP/2, a connection that is always in use would "
        + "otherwise never end: so requests reach new machines behind an address that several "
        + "share."),
  ]
}
