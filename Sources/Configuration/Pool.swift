// A group of backends that serve the same content, and how requests are balanced over them.

public import Primitives

extension Configuration {
  /// Backends with a strategy.
  public struct Pool: Hashable, Sendable {
    public static let defaultName = "default"

    /// Unique.
    public var name = Pool.defaultName
    public var strategy = Strategy.roundRobin
    /// What the strategy `maglev` hashes.
    public var hashKey = HashKey.source
    /// In percent of a fair share: the most that a backend gets before the next one is used; nil
    /// for no bound.
    public var boundedLoad: Int?
    /// At least one of tier 0.
    public var backends: [Backend]
    /// How tiers share; nil: each serves only while no earlier one is available.
    public var failover: Failover?
    /// The own zone, if it is not that of the whole configuration.
    public var zone: String?
    /// Active checks; nil for none.
    public var health: Health? = Health()
    /// Passive health: ejection after failed exchanges; nil for none.
    public var ejection: Ejection? = Ejection()
    /// For requests while every backend is full; nil to refuse them immediately.
    public var queue: Queue? = Queue()
    /// How long a recovered backend gets a reduced share; nil for no slow start.
    public var slowStart: TimeSpan?
    /// The cookie that keeps clients on their backend; nil for none.
    public var stickiness: Stickiness?
    public var retry = Retry()
    public var timeouts = Timeouts()
    public var keepAlive = KeepAlive()
    /// Nil if the backends speak plain HTTP.
    public var tls: BackendTLS?
    public var `protocol` = BackendProtocol.http1
    /// Probes on idle connections to backends; nil for none.
    public var tcpKeepAlive: TCPKeepAlive? = TCPKeepAlive()
    public var whenAllDown = WhenAllDown.refuse
    public var desync = ResponseDesync.strict
    /// What begins each connection to a backend; nil for nothing.
    public var proxyProtocol: ProxyHeader?
    public var sourceAddress = SourceAddress.own
    /// How often host names of backends are resolved again.
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
    case maglev = "maglev"
    case powerOfTwo = "power-of-two"
    case leastTime = "least-time"

    static var noun: String { "a strategy" }
    /// Only plain round robin ignores them.
    public var usesWeights: Bool { self != .roundRobin }
    /// Whether each client or key has its backend.
    public var hasAffinity: Bool { self == .ipHash || self == .maglev }
  }

  /// The version of HTTP that backends get.
  public enum BackendProtocol: String, Choice {
    case http1 = "http/1.1"
    case http2 = "h2"
    /// By ALPN.
    case auto
    static var noun: String { "a protocol" }
    static var meant: [String: BackendProtocol] {
      ["http2": .http2, "http/2": .http2, "http/2.0": .http2, "grpc": .http2, "http1": .http1]
    }
  }

  public enum WhenAllDown: String, Choice {
    case refuse
    case failOpen = "fail-open"
    static var noun: String { "a value of when-all-down" }
  }

  /// How to handle invalid responses that can be repaired without changing where they end.
  public enum ResponseDesync: String, Choice {
    /// The client gets 502.
    case strict
    /// Repaired, counted and logged; the backend's connection is not reused.
    case tolerant
    static var noun: String { "a desync mode of a pool" }
  }

  /// One server of a pool.
  public struct Backend: Hashable, Sendable {
    public var endpoint: Endpoint
    /// As written in front of the endpoint. In a valid configuration it is `https` for every
    /// backend of a pool with TLS except Unix sockets, and nil for all others.
    public var scheme: BackendAddress.Scheme?
    /// 1 to 256.
    public var weight = 1
    /// The most exchanges at a time, over all workers; nil for no limit.
    public var maxConnections: Int?
    /// The same as tier 1.
    public var isBackup = false
    /// Nil if it isn't given.
    public var tier: Int?
    /// What all nodes call it, whatever its address.
    public var name: String?
    /// Where it runs.
    public var zone: String?

    /// Lower tiers are used first.
    public var tierInForce: Int { tier ?? (isBackup ? 1 : 0) }

    public init(_ endpoint: Endpoint, weight: Int = 1) {
      self.endpoint = endpoint
      self.weight = weight
    }

    init(_ address: BackendAddress) {
      self.init(address.endpoint)
      scheme = address.scheme
    }

    public var address: BackendAddress {
      get { BackendAddress(endpoint: endpoint, scheme: scheme) }
      set { (endpoint, scheme) = (newValue.endpoint, newValue.scheme) }
    }
  }

  /// An endpoint, and perhaps what it speaks.
  public struct BackendAddress: Hashable, Sendable, CustomStringConvertible {
    public enum Scheme: Sendable { case http, https }

    public var endpoint: Endpoint
    public var scheme: Scheme?

    public var description: String { scheme == .https ? "https://\(endpoint)" : "\(endpoint)" }
  }

  /// Where a backend is reached.
  public enum Endpoint: Hashable, Sendable, CustomStringConvertible {
    case address(SocketAddress)
    /// A name in lower case, resolved again every `resolveInterval`. A dot at its end makes it
    /// absolute: it is resolved without search domains.
    case name(String, port: UInt16)

    public var description: String {
      switch self {
      case .address(let address): "\(address)"
      case .name(let name, let port): "\(name):\(port)"
      }
    }

    /// The name or IP address without the port; empty for a Unix socket.
    public var serverName: String {
      switch self {
      case .address(.unix): ""
      case .address(.ip(let address, _)): "\(address)"
      case .name(let name, _): name.hasSuffix(".") ? String(name.dropLast()) : name
      }
    }

    /// As in a Host field, with `port` instead of its own if there is one. `localhost` for a Unix
    /// socket, which has no host name.
    public func host(port: UInt16? = nil) -> String {
      switch self {
      case .address(.unix): "localhost"
      case .address(.ip(let address, let own)): "\(SocketAddress.ip(address, port: port ?? own))"
      // Servers expect the name without the dot at its end.
      case .name(let name, let own):
        "\(name.hasSuffix(".") ? String(name.dropLast()) : name):\(port ?? own)"
      }
    }
  }
}

extension Configuration.Pool: Section {
  init() { self.init(backends: []) }

  static let title = "pool"
  static let about = """
    Backends that serve the same content, and how requests are balanced over them.
    """
  static let keys: [Key<Self>] = [
    Key(
      "name", \.name, .name,
      "The name of the pool in routes, metrics and logs. If there are several pools, each needs "
        + "a different name."),
    Key(
      "strategy", \.strategy, .choice,
      "How to select the backend for a request. `round-robin`: each backend in turn, with one "
        + "order for all workers; weights are ignored. `weighted-round-robin`: in turn, in "
        + "proportion to the weights and as evenly as possible. `least-connections`: the backend "
        + "with the lowest number of active requests per weight. In a pool with more than 16 "
        + "backends, Martlet compares only five of them: the next one in turn, and four random "
        + "ones. `random`: at random, in proportion to the weights. `ip-hash`: by the client's "
        + "address, so that a client stays on the same backend while this backend is up. "
        + "`maglev`: by the hash of `hash-key`, with the same result on every node, and few keys "
        + "move if backends are added or removed. `power-of-two`: of two random backends, the one "
        + "with fewer active requests per weight. `least-time`: of two random backends, the one "
        + "that is expected to respond sooner, by its last response times and active requests. "
        + "docs/operators/choosing-a-strategy.md compares them."),
    Key(
      "hash-key", \.hashKey, .hashKey,
      "What the strategy `maglev` hashes. `source`: the client's address; of an IPv6 address, its "
        + "/64. `2-tuple`: source and destination address. `3-tuple`: and the protocol. "
        + "`5-tuple`: and both ports. The tuples are for connections that are not HTTP; for a "
        + "request they are the same as `source`. `header:NAME`, `cookie:NAME`, `query:NAME`: the "
        + "field, cookie or query parameter of a request with this name, as it was sent. A "
        + "request without it, or with an empty one, is hashed by `source`."),
    Key(
      "bounded-load", \.boundedLoad, .off(or: .factor(125...200)),
      "With `maglev` or `ip-hash`: a backend that has this many times its fair share of the "
        + "active requests gets no more; the next backend of the key is used. Protects against "
        + "keys that are much busier than others. The nodes know only their own requests, so they "
        + "no longer agree about every key. Not with `stickiness`."),
    Key(
      "backends", \.backends,
      .list(
        of: .section(
          or: .backendAddress, expand: { Configuration.Backend($0) },
          shorten: { $0 == Configuration.Backend($0.address) ? $0.address : nil }),
        minimum: 1), required: true,
      "The servers of the pool. Write an address, or an object to set more keys. If several names "
        + "have the same address, they are one backend. It has the weight and the other keys of "
        + "the first name."),
    Key(
      "protocol", \.protocol, .choice,
      "The version of HTTP that backends get. `h2` is HTTP/2: with TLS the backend must agree by "
        + "ALPN, without TLS Martlet begins with HTTP/2 (prior knowledge). `auto` needs TLS, and "
        + "lets the backend choose by ALPN. With HTTP/2, many requests share a connection. A "
        + "reload applies a change to new connections."),
    Key(
      "tls", optional: \.tls, .section,
      "TLS to the backends. Default: plain HTTP; if the addresses of the backends begin with "
        + "`https://`, TLS with the defaults of this section."),
    Key("health", \.health, .off(or: .section), "Active health checks."),
    Key(
      "ejection", \.ejection, .off(or: .section),
      "Passive health checks: stop using a backend for some time after its requests failed."),
    Key(
      "queue", \.queue, .off(or: .section),
      "Queue for requests while all backends are at `max-connections`."),
    Key(
      "slow-start", \.slowStart, .off(or: .duration(.seconds(1) ... .seconds(3600))),
      "During this time a recovered backend gets only a part of its share. The part grows from "
        + "10 % to 100 % in ten steps. This protects backends whose caches are still empty. Not "
        + "used when Martlet starts, or when all backends have just recovered. `ip-hash` and "
        + "`maglev` ignore it."),
    Key(
      "stickiness", \.stickiness,
      .off(
        or: .section(
          or: .cookieName, expand: { Configuration.Stickiness(cookie: $0) },
          shorten: { $0 == Configuration.Stickiness(cookie: $0.cookie) ? $0.cookie : nil })),
      "Sticky sessions: a cookie keeps a client on its backend."),
    Key("retry", \.retry, .section, "Which requests are retried, and how often."),
    Key("timeouts", \.timeouts, .section, "Timeouts for backends."),
    Key("keep-alive", \.keepAlive, .section, "Idle connections to backends, kept for reuse."),
    Key(
      "tcp-keep-alive", \.tcpKeepAlive, .off(or: .section),
      "Probes on idle connections to backends, mainly for WebSockets and requests with slow "
        + "responses."),
    Key(
      "when-all-down", \.whenAllDown, .choice,
      "What to do if no backend is healthy. `refuse`: respond with 503 and Retry-After. "
        + "`fail-open`: send requests to all backends as if they were healthy, because the "
        + "health checks themselves may be wrong."),
    Key(
      "failover", \.failover, .off(or: .section),
      "How tiers of backends share the requests. Without it, a tier is used only while no backend "
        + "of an earlier tier is available."),
    Key(
      "zone", optional: \.zone, .zone,
      "The zone of this Martlet, for this pool. Default: `zone` at the top level."),
    Key(
      "desync", \.desync, .choice,
      "What to do with an invalid response that Martlet can repair. `strict`: respond with 502, "
        + "and log the reason in the access log. `tolerant`: repair and count it, log the reason "
        + "in the access log, and don't reuse the backend's connection. Martlet can repair these "
        + "errors: spaces after a chunk size, `Transfer-Encoding: chunked` twice, `identity` "
        + "without a length, a folded field, a line without a colon, a field name with invalid "
        + "characters, a head in which every line ends with LF only. docs/SECURITY.md has the "
        + "exceptions. If it is not certain where the response ends, the client gets 502 in both "
        + "modes."),
    Key(
      "proxy-protocol", optional: \.proxyProtocol,
      .section(
        or: .choice, expand: { Configuration.ProxyHeader($0) },
        shorten: { $0 == Configuration.ProxyHeader($0.version) ? $0.version : nil }),
      "Begin each connection to a backend with a header of the PROXY protocol, which has the "
        + "address of the client's connection. Not with HTTP/2. Default: none. A reload applies "
        + "a change to new connections."),
    Key(
      "source-address", \.sourceAddress, .choice,
      "From which address backends are connected. `own`: an address of this machine. `client`: the "
        + "address of the client's connection or datagrams, so that backends see clients and not "
        + "Martlet (transparent mode). It needs the capability CAP_NET_RAW or CAP_NET_ADMIN, and "
        + "routes that bring the replies back: docs/operators/transparent.md. A connection belongs "
        + "to one connection of a client, and is not shared. Not with HTTP/2. A reload applies a "
        + "change to new connections."),
    Key(
      "resolve-interval", \.resolveInterval, .duration(.seconds(1) ... .seconds(86_400)),
      "Time after which Martlet resolves the host names of backends again (DNS), in the "
        + "background. If a lookup fails, the last addresses stay in use."),
  ]
}

extension Configuration.Backend: Section {
  init() { self.init(.name("", port: 0)) }

  static let title = "backend"
  static let about = """
    One server of a pool. It speaks the `protocol` of the pool, over TLS if the pool has `tls`. \
    If you set only \
    `address`, you can write it as a string instead of an object.
    """
  static let keys: [Key<Self>] = [
    Key(
      "address", \.address, .backendAddress, required: true,
      "IPv4 address, IPv6 address or host name with a port, or `unix:` and the path of a socket. "
        + "A host name with several addresses counts as several backends. A host name that ends "
        + "with a dot (`app.svc.cluster.local.:80`) is resolved without the DNS search domains "
        + "of the system. With `https://` in front, Martlet uses TLS, and the default port is 443; "
        + "then all backends of the pool need it, or the pool a section `tls`. `http://` in front "
        + "is allowed if the pool has no TLS."),
    Key(
      "weight", \.weight, .integer(1...256),
      "Share of the requests, relative to the weights of the other backends. `round-robin` "
        + "ignores it."),
    Key(
      "max-connections", optional: \.maxConnections, .integer(1...1_000_000),
      "Maximum number of active requests on the backend, over all workers. Further requests go "
        + "to other backends, or wait in the pool's `queue`. Default: no limit."),
    Key(
      "backup", \.isBackup, .flag,
      "Use this backend only while all backends without `backup` are unavailable. The same as "
        + "`tier` 1."),
    Key(
      "tier", optional: \.tier, .integer(0...7),
      "Backends with a lower tier are used first. The next tier is used if no backend of the "
        + "lower ones is available; with `failover` of the pool, also if too few are. At least "
        + "one backend needs tier 0. Not together with `backup`. Default: 0."),
    Key(
      "name", optional: \.name, .name,
      "What the strategies `maglev` and `ip-hash` hash in place of the address. Set it if the "
        + "address differs between nodes, or changes. If the address is a host name with several "
        + "addresses, each counts with its address. Default: the address."),
    Key(
      "zone", optional: \.zone, .zone,
      "The zone in which the backend runs, such as a data centre. Backends in the zone of this "
        + "Martlet (`zone` at the top level) are preferred within a tier, while enough of them "
        + "are healthy."),
  ]
}
