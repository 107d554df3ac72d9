// How a pool finds out which of its backends are up: by asking (health), and by what becomes of
// real requests (ejection). A backend is used when both agree.

public import Primitives

extension Configuration {
  /// Active checks.
  public struct Health: Hashable, Sendable {
    public enum Check: String, Choice {
      case tcp, http
      static var noun: String { "a health check" }
    }

    /// What a backend is taken for before its first check.
    public enum Initial: String, Choice {
      case up, down
      static var noun: String { "an initial state" }
    }

    public var check = Check.tcp
    public var path = "/"
    /// The Host of the check; nil for the backend's address as written.
    public var host: String?
    /// Where backends are checked; nil for the port at which they serve.
    public var port: UInt16?
    /// Statuses that pass an HTTP check.
    public var expect = [200...399]
    public var interval = TimeSpan.seconds(5)
    /// Between checks while the state is about to change; `interval` when that is shorter.
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
    /// The share of failed requests that ejects; nil for a row of failures alone.
    public var failurePercent: Int? = 50
    /// What that share is taken of.
    public var window = TimeSpan.seconds(10)
    public var minimumRequests = 20
    /// Of the pool's backends, rounded up.
    public var maxEjectedPercent = 50

    public init() {}
  }
}

extension Configuration.Health: Section {
  static let title = "health"
  static let about = "Active checks: every backend is asked regularly, once for the whole process."
  static let keys: [Key<Self>] = [
    Key(
      "check", \.check, .choice,
      "`tcp`: a connection can be made. `http`: a GET of `path` is answered with an expected "
        + "status. TCP, because it is right for every backend; HTTP sees more."),
    Key("path", \.path, .target, "What an HTTP check asks for."),
    Key(
      "host", optional: \.host, .hostName,
      "The Host of an HTTP check. By default the backend's address as written, with the `port` of "
        + "the checks, and `localhost` for a Unix socket."),
    Key(
      "port", optional: \.port, .port(),
      "The port at which backends are checked, where a sidecar or a management port answers for "
        + "them. By default the one at which each serves. Unix sockets have none, and are checked "
        + "where they are."),
    Key(
      "expect", \.expect, .oneOrMore(of: .statuses),
      "Statuses that pass an HTTP check."),
    Key(
      "interval", \.interval, .duration(.milliseconds(100) ... .seconds(3600)),
      "Time between two checks of one backend, give or take a tenth, so that checks spread out."),
    Key(
      "fast-interval", \.fastInterval, .duration(.milliseconds(100) ... .seconds(3600)),
      "Time between checks while results differ from the state, so that a change is seen soon. "
        + "Never longer than `interval`."),
    Key(
      "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(300)),
      "A check that takes longer has failed."),
    Key("rise", \.rise, .integer(1...255), "Passed checks in a row that bring a backend back."),
    Key(
      "fall", \.fall, .integer(1...255),
      "Failed checks in a row that take a backend out; 3, so that one pause of a garbage "
        + "collector doesn't."),
    Key(
      "initially", \.initially, .choice,
      "What a backend is taken for before its first check: `up` serves at once, `down` only "
        + "after its first passed check. A reload keeps what is known."),
  ]
}

extension Configuration.Ejection: Section {
  static let title = "ejection"
  static let about = """
    Passive health: a backend whose requests fail is ejected for a while, then tried with one \
    request. The last available backend of a pool is never ejected, nor more of them at once than \
    `max-ejected-percent` says: what takes most backends down together is rarely their own fault.
    """
  static let keys: [Key<Self>] = [
    Key(
      "failures", \.failures, .integer(1...255),
      "Failed requests in a row that eject a backend: refused or broken connections and "
        + "time-outs. What clients break off isn't counted."),
    Key(
      "base", \.base, .duration(.milliseconds(100) ... .seconds(3600)),
      "How long the first ejection lasts; the second in a row lasts twice as long, and so on."),
    Key(
      "max", \.max, .duration(.milliseconds(100) ... .seconds(86_400)),
      "The longest ejection."),
    Key(
      "failure-percent", \.failurePercent, .off(or: .integer(1...100)),
      "A backend is ejected as well when so many in a hundred of its requests fail within the "
        + "`window`, at least twice the share of all others together: one that fails every other "
        + "request never fails five in a row."),
    Key(
      "window", \.window, .duration(.milliseconds(100) ... .seconds(3600)),
      "Over how long that share is taken."),
    Key(
      "minimum-requests", \.minimumRequests, .integer(2...1_000_000),
      "Fewer requests than these within the window say nothing about a share."),
    Key(
      "max-ejected-percent", \.maxEjectedPercent, .integer(1...100),
      "So many in a hundred of the pool's backends may be ejected at once, rounded up: with 50, "
        + "one of two, two of three or four, three of five."),
  ]
}
