// A group of backends that serve the same thing, and how requests are spread over them.

public import Primitives

extension Configuration {
  /// Backends with a strategy.
  public struct Pool: Hashable, Sendable {
    public static let defaultName = "default"

    /// Unique.
    public var name = Pool.defaultName
    public var strategy = Strategy.roundRobin
    /// At least one that isn't a backup.
    public var backends: [Backend]
    /// Active checks; nil for none.
    public var health: Health? = Health()
    /// Passive health: ejection after failed exchanges; nil for none.
    public var ejection: Ejection? = Ejection()
    /// For requests that find every backend full; nil to refuse them at once.
    public var queue: Queue? = Queue()
    /// How long a backend that comes back gets less than its share; nil for not at all.
    public var slowStart: TimeSpan?
    /// The cookie by which clients stay with their backend; nil for none.
    public var stickiness: Stickiness?
    public var retry = Retry()
    public var timeouts = Timeouts()
    public var keepAlive = KeepAlive()
    /// Probes on quiet connections to backends; nil for none.
    public var tcpKeepAlive: TCPKeepAlive? = TCPKeepAlive()
    public var whenAllDown = WhenAllDown.refuse
    public var desync = ResponseDesync.strict
    /// How often names of backends are looked up again.
    public var resolveInterval = TimeSpan.seconds(30)

    public init(name: String = Pool.defaultName, backends: [Backend]) {
      self.name = name
      self.backends = backends
    }
  }

  public enum Strategy: String, Choice {
    case roundRobin = "round-robin"
    case weightedRoundRobin = "weighted-round-robin"
    case leastConnections = "least-connections"
    case random = "random"
    case ipHash = "ip-hash"

    static var noun: String { "a strategy" }
    /// Plain round robin is the one that treats all backends alike.
    public var usesWeights: Bool { self != .roundRobin }
  }

  public enum WhenAllDown: String, Choice {
    case refuse
    case failOpen = "fail-open"
    static var noun: String { "an answer to all backends being down" }
  }

  /// What is done about responses whose faults can be repaired without moving a boundary.
  public enum ResponseDesync: String, Choice {
    /// The client gets 502.
    case strict
    /// Repaired, counted and named in the access log; the backend's connection closes after them.
    case tolerant
    static var noun: String { "a desync mode of a pool" }
  }

  /// One server of a pool.
  public struct Backend: Hashable, Sendable {
    public var endpoint: Endpoint
    /// 1 to 256.
    public var weight = 1
    /// The most exchanges at a time, over all workers; nil for no limit.
    public var maxConnections: Int?
    /// Serves only while no other member is available.
    public var isBackup = false

    public init(_ endpoint: Endpoint, weight: Int = 1) {
      self.endpoint = endpoint
      self.weight = weight
    }
  }

  /// Where a backend is reached.
  public enum Endpoint: Hashable, Sendable, CustomStringConvertible {
    case address(SocketAddress)
    /// A name in lower case, to be looked up again every `resolveInterval`; with a dot at its end
    /// where it is absolute, so that no search list is tried.
    case name(String, port: UInt16)

    public var description: String {
      switch self {
      case .address(let address): "\(address)"
      case .name(let name, let port): "\(name):\(port)"
      }
    }

    /// As a Host field writes it, with `port` in place of its own if there is one. A socket in the
    /// file system has no name that HTTP knows, and is on this machine.
    public func host(port: UInt16? = nil) -> String {
      switch self {
      case .address(.unix): "localhost"
      case .address(.ip(let address, let own)): "\(SocketAddress.ip(address, port: port ?? own))"
      // Servers compare the name without the dot of an absolute one.
      case .name(let name, let own):
        "\(name.hasSuffix(".") ? String(name.dropLast()) : name):\(port ?? own)"
      }
    }
  }
}

extension Configuration.Pool: Section {
  init() { self.init(backends: []) }

  static let title = "pool"
  static let about = "Backends that serve the same thing, and how requests are spread over them."
  static let keys: [Key<Self>] = [
    Key(
      "name", \.name, .name,
      "What routes, metrics and logs call it. Needed from two pools on."),
    Key(
      "strategy", \.strategy, .choice,
      "Who gets the next request. `round-robin`: each in turn, exactly, over all workers. "
        + "`weighted-round-robin`: in turn, as often as the weights say and as evenly as "
        + "possible. `least-connections`: who has the fewest requests under way for its "
        + "weight (of more than 16 backends five are looked at: whose turn it is, and four by "
        + "chance). `random`: by chance and weight. `ip-hash`: by the client's address, so that "
        + "a client stays with its backend while that is up."),
    Key(
      "backends", \.backends,
      .list(
        of: .section(
          or: .endpoint, expand: { Configuration.Backend($0) },
          shorten: { $0 == Configuration.Backend($0.endpoint) ? $0.endpoint : nil }),
        minimum: 1), required: true,
      "The servers: an address is enough for each. Names that share an address are one backend, "
        + "with the weight and the other keys of the first."),
    Key("health", \.health, .off(or: .section), "Active health checks."),
    Key(
      "ejection", \.ejection, .off(or: .section),
      "Passive health: a backend that fails real requests is left alone for a while."),
    Key(
      "queue", \.queue, .off(or: .section),
      "Requests that wait for a place while every backend has reached its `max-connections`."),
    Key(
      "slow-start", \.slowStart, .off(or: .duration(.seconds(1) ... .seconds(3600))),
      "So long a backend that comes back after a failure gets less than its share, from a tenth "
        + "up in ten steps, so that cold caches don't meet full load. Never at the start of "
        + "Martlet, and not where all backends have just come back. `ip-hash` ignores it."),
    Key(
      "stickiness", \.stickiness,
      .off(
        or: .section(
          or: .cookieName, expand: { Configuration.Stickiness(cookie: $0) },
          shorten: { $0 == Configuration.Stickiness(cookie: $0.cookie) ? $0.cookie : nil })),
      "A cookie by which a client stays with its backend."),
    Key("retry", \.retry, .section, "What is tried again, and how often."),
    Key("timeouts", \.timeouts, .section, "How long backends may take."),
    Key("keep-alive", \.keepAlive, .section, "Connections to backends that wait for reuse."),
    Key(
      "tcp-keep-alive", \.tcpKeepAlive, .off(or: .section),
      "Probes on quiet connections to backends, above all those of WebSockets and of requests "
        + "that take long to answer."),
    Key(
      "when-all-down", \.whenAllDown, .choice,
      "What happens when no backend is healthy. `refuse`: clients get 503 with Retry-After. "
        + "`fail-open`: requests go to all of them as if they were healthy, because checks "
        + "can be wrong as well."),
    Key(
      "desync", \.desync, .choice,
      "What becomes of a response that HTTP/1.1 doesn't allow but whose fault can be repaired in "
        + "such a way that no reader sees another boundary: blanks after a chunk's size, "
        + "`Transfer-Encoding: chunked` twice, `identity` without a length, a folded field, a "
        + "line without a colon, a field name with odd characters, a head whose lines all end in "
        + "LF alone. `strict`: the client gets 502, and the access log has the reason. "
        + "`tolerant`: it is repaired, counted and named in the access log, and the backend's "
        + "connection isn't used again. What could move a boundary gets 502 in either; "
        + "docs/SECURITY.md has the list."),
    Key(
      "resolve-interval", \.resolveInterval, .duration(.seconds(1) ... .seconds(86_400)),
      "How often the names of backends are looked up again, in the background. While a lookup "
        + "fails, the last addresses are kept."),
  ]
}

extension Configuration.Backend: Section {
  init() { self.init(.name("", port: 0)) }

  static let title = "backend"
  static let about = """
    One server of a pool, which speaks plain HTTP/1.1. The address alone, as text, is short for an \
    object with nothing else in it.
    """
  static let keys: [Key<Self>] = [
    Key(
      "address", \.endpoint, .endpoint, required: true,
      "IPv4 or IPv6 address or name with a port, or `unix:` and the path of a socket. A name "
        + "with several addresses stands for several backends; with a dot at its end "
        + "(`app.svc.cluster.local.:80`) it is looked up as it is, without the system's list of "
        + "domains to search. `http://` may stand in front; `https://` is refused for now."),
    Key(
      "weight", \.weight, .integer(1...256),
      "Its share of the requests, as compared with the other weights of the pool. "
        + "`round-robin` ignores it."),
    Key(
      "max-connections", optional: \.maxConnections, .integer(1...1_000_000),
      "The most requests that it gets at a time, over all workers; more go to others, or wait in "
        + "the pool's `queue`. No limit by default."),
    Key(
      "backup", \.isBackup, .flag,
      "Serves only while no backend that isn't a backup is available."),
  ]
}
