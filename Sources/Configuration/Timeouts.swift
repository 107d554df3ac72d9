// How long a pool's backends may take, and how long connections to them are kept.

public import Primitives

extension Configuration {
  /// Time-outs on the side of the backends. None of them bounds how long a body takes in all.
  public struct Timeouts: Hashable, Sendable {
    /// For one dial.
    public var connect = TimeSpan.seconds(3)
    /// For one attempt: from the end of the request to the first byte of the response.
    public var response = TimeSpan.seconds(30)
    /// For all attempts together: from the request's head to the response's head. The time for
    /// which the client keeps Martlet waiting for the request's body doesn't count.
    public var request = TimeSpan.seconds(60)
    /// Without a byte in either direction, while a body is under way.
    public var idle = TimeSpan.seconds(60)
    /// Without a byte in either direction on a relay.
    public var relayIdle = TimeSpan.seconds(3600)

    public init() {}
  }

  /// Idle connections to backends.
  public struct KeepAlive: Hashable, Sendable {
    public var idle = TimeSpan.seconds(4)
    /// For each backend and worker; 0 closes every connection after its exchange.
    public var maxIdle = 64

    public init() {}
  }
}

extension Configuration.Timeouts: Section {
  static let title = "timeouts"
  static let about = """
    How long backends may take. Downloads and streams may last as long as they like, as long as \
    bytes flow.
    """
  static let keys: [Key<Self>] = [
    Key(
      "connect", \.connect, .duration(.milliseconds(10) ... .seconds(300)),
      "For a connection to a backend to be made; then another backend is tried. Long enough for "
        + "one lost packet."),
    Key(
      "response", \.response, .duration(.milliseconds(10) ... .seconds(86_400)),
      "For one attempt: from the end of the request to the first byte of the response."),
    Key(
      "request", \.request, .duration(.milliseconds(10) ... .seconds(86_400)),
      "For one request with all its attempts, until the response begins; then the client gets "
        + "504. Time spent on waiting for the client's body doesn't count."),
    Key(
      "idle", \.idle, .duration(.milliseconds(10) ... .seconds(86_400)),
      "The longest pause within a request's or a response's body."),
    Key(
      "relay-idle", \.relayIdle, .duration(.seconds(1) ... .seconds(7 * 86_400)),
      "The longest pause on an upgraded connection, such as a WebSocket, which may be quiet for "
        + "long and still be wanted."),
  ]
}

extension Configuration.KeepAlive: Section {
  static let title = "keep-alive"
  static let about = "Connections to backends that are kept for the next request."
  static let keys: [Key<Self>] = [
    Key(
      "idle", \.idle, .duration(.zero ... .seconds(86_400)),
      "How long a connection waits for its next request. It should be less than the backend's "
        + "own time; 4s, because common servers close after 5."),
    Key(
      "max-idle", \.maxIdle, .integer(0...10_000),
      "Connections that wait at a time, for each backend and worker; 0 makes a new connection "
        + "for each request."),
  ]
}
