// Health of backends: active checks (health), and the results of real requests (ejection). A
// backend gets requests only if both agree.

public import Primitives

extension Configuration {
  /// Active checks.
  public struct Health: Hashable, Sendable {
    public enum Check: String, Choice {
      case tcp, http, grpc, udp
      static var noun: String { "a health check" }
    }

    /// The state of a backend before its first check.
    public enum Initial: String, Choice {
      case up, down
      static var noun: String { "an initial state" }
    }

    public var check = Check.tcp
    public var path = "/"
    /// The service of a gRPC check; empty for the whole server.
    public var service = ""
    /// What a TCP or UDP check sends, and how the reply begins; nil for none.
    public var send: String?
    public var reply: String?
    /// The Host of the check; nil for the backend's address as written.
    public var host: String?
    /// The port of the checks; nil for the backend's own port.
    public var port: UInt16?
    /// Statuses that pass an HTTP check.
    public var expect = [200...399]
    public var interval = TimeSpan.seconds(5)
    /// Between checks while the state is about to change; `interval` if that is shorter.
    public var fastInterval = TimeSpan.seconds(1)
    public var timeout = TimeSpan.seconds(2)
    public var rise = 2
    public var fall = 3
    public var initially = Initial.up

    public init() {}
  }

  /// Passive health.
  public struct Ejection: Hashable, Sendable {
    /// Failed exchanges in a row.
    public var failures = 5
    /// The n-th ejection in a row lasts n times as long, up to `max`.
    public var base = TimeSpan.seconds(10)
    public var max = TimeSpan.seconds(300)
    /// The percentage of failed requests that ejects; nil if only failures in a row eject.
    public var failurePercent: Int? = 50
    /// Where the percentage is measured: over this time, from this many requests on.
    public var window = TimeSpan.seconds(10)
    public var minimumRequests = 20
    /// Percentage of the pool's backends, rounded up.
    public var maxEjectedPercent = 50

    public init() {}
  }
}

extension Configuration.Health: Section {
  static let title = "health"
  static let about = """
    Active health checks. Each backend is checked regularly, once for the whole process.
    """
  static let keys: [Key<Self>] = [
    Key(
      "check", \.check, .choice,
      "Type of the check. `tcp`: the backend must accept a connection, agree on TLS if the pool "
        + "has `tls`, and send `reply` if that is set. `http`: a GET of `path` "
        + "must return an expected status, over the version of HTTP in `protocol` of the pool. "
        + "`grpc`: the call `grpc.health.v1.Health/Check` must return SERVING; `protocol` must be "
        + "`h2` or `auto`. `udp`: the datagram `send` must be answered with one that begins with "
        + "`reply`; without `reply`, the port must not be refused (ICMP). Default: `tcp`, because "
        + "it works with every backend; the others detect more failures. In the pool of a UDP "
        + "listener `udp`, and without the section `health` no check."),
    Key("path", \.path, .target, "Path (and query) that an HTTP check requests."),
    Key(
      "service", \.service, .text(maxByteCount: 256, example: "package.Service"),
      "Name of the service that a gRPC check asks for. Empty: the server as a whole."),
    Key(
      "send", optional: \.send, .bytes,
      "What a TCP or UDP check sends, such as `PING\\r\\n`. Each character is a byte (`\\u0000` "
        + "to `\\u00ff`). A UDP check needs it. In a TCP check, it needs `reply`."),
    Key(
      "reply", optional: \.reply, .bytes,
      "The first bytes that a TCP or UDP check must receive, such as `+PONG`. In a TCP check "
        + "without `send`, what the backend says first."),
    Key(
      "host", optional: \.host, .hostName,
      "Host field of an HTTP or gRPC check. Default: the backend's address as written, with the "
        + "`port` of the check; `localhost` for a Unix socket."),
    Key(
      "port", optional: \.port, .port(),
      "Port to check, if it is not the backend's own port: a sidecar or a management port. Not "
        + "used for Unix sockets."),
    Key(
      "expect", \.expect, .oneOrMore(of: .statuses),
      "Statuses with which an HTTP check succeeds."),
    Key(
      "interval", \.interval, .duration(.milliseconds(100) ... .seconds(3600)),
      "Time between two checks of a backend. It varies by 10 % in both directions, so that "
        + "checks don't all run at once."),
    Key(
      "fast-interval", \.fastInterval, .duration(.milliseconds(100) ... .seconds(3600)),
      "Time between two checks while a backend is about to change its state (see `rise` and "
        + "`fall`), so that a change is detected sooner. If it is longer than `interval`, "
        + "`interval` is used."),
    Key(
      "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(300)),
      "Timeout of a check. A check that takes longer fails."),
    Key(
      "rise", \.rise, .integer(1...255),
      "Number of successful checks in a row after which a backend is up again."),
    Key(
      "fall", \.fall, .integer(1...255),
      "Number of failed checks in a row after which a backend is down. Default: 3, so that one "
        + "garbage collection pause is not enough."),
    Key(
      "initially", \.initially, .choice,
      "State of a backend before its first check. `up`: it gets requests immediately. `down`: it "
        + "gets requests after its first successful check. A reload keeps the known state."),
  ]
}

extension Configuration.Ejection: Section {
  static let title = "ejection"
  static let about = """
    Passive health checks. A backend whose requests fail is ejected: it gets no requests for some \
    time, then a single one as a trial. The last available backend of a pool is never ejected. At \
    most `max-ejected-percent` of the backends are ejected at the same time, because a failure of \
    most backends usually has a common cause.
    """
  static let keys: [Key<Self>] = [
    Key(
      "failures", \.failures, .integer(1...255),
      "Number of failed requests in a row after which a backend is ejected. Refused or broken "
        + "connections, timeouts and invalid responses are failures. Requests that the client "
        + "aborts are not."),
    Key(
      "base", \.base, .duration(.milliseconds(100) ... .seconds(3600)),
      "Duration of the first ejection. The second one in a row lasts twice as long, the third "
        + "one three times, and so on up to `max`."),
    Key(
      "max", \.max, .duration(.milliseconds(100) ... .seconds(86_400)),
      "Maximum duration of an ejection."),
    Key(
      "failure-percent", \.failurePercent, .off(or: .integer(1...100)),
      "Also eject a backend if at least this percentage of its requests fails within `window`. "
        + "Its failure rate must also be at least twice the failure rate of all other backends "
        + "together. Reason: a backend that fails every second request never reaches `failures`."),
    Key(
      "window", \.window, .duration(.milliseconds(100) ... .seconds(3600)),
      "Time over which `failure-percent` is measured."),
    Key(
      "minimum-requests", \.minimumRequests, .integer(2...1_000_000),
      "`failure-percent` applies only to a backend with at least this many requests within "
        + "`window`."),
    Key(
      "max-ejected-percent", \.maxEjectedPercent, .integer(1...100),
      "Maximum percentage of the pool's backends that are ejected at the same time, rounded up. "
        + "With 50: one of two, two of three or four, three of five."),
  ]
}
