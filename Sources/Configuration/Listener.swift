// Listeners: addresses for clients, and what is spoken there.

public import Primitives

extension Configuration {
  /// One or more addresses that serve the same routes in the same way.
  public struct Listener: Hashable, Sendable {
    /// Unique. By default the text of its first address.
    public var name: String
    public var listen: [ListenAddress]
    public var `protocol` = ListenerProtocol.http
    /// The pool of a UDP listener, and of the connections of a TCP listener without a route; nil to
    /// close them.
    public var pool: String?
    public var routes: [TCPRoute] = []
    /// Protocols that clients of a TCP listener with TLS may agree on, best first.
    public var alpn: [String] = []
    public var maxConnections: Int?
    public var maxConnectionsPerClient: Int?
    public var sessions = Sessions()
    /// Nil for plain HTTP or TCP.
    public var tls: TLS?
    /// The HTTPS port to which this plain listener redirects; nil if it doesn't. `routes(on:)`
    /// contains the redirect.
    public var redirectToHTTPS: UInt16?
    /// The routes of `routes(on:)` set the field.
    public var hsts: HSTS?
    /// What clients may speak, best first; nil for the default, see `spokenProtocols`.
    public var protocols: [HTTPProtocol]?
    public var desync = Desync.strict
    public var halfClose = HalfClose.abort
    /// Connections per socket that wait in the kernel to be accepted.
    public var backlog = 4096
    /// Probes on idle client connections; nil for none.
    public var tcpKeepAlive: TCPKeepAlive? = TCPKeepAlive()
    /// Nil if connections begin without a header of the PROXY protocol.
    public var proxyProtocol: ProxySenders?

    public init(name: String? = nil, listen: [ListenAddress], tls: TLS? = nil) {
      self.name = name ?? listen.first?.text ?? ""
      self.listen = listen
      self.tls = tls
    }

    /// What clients may speak here. Without TLS, HTTP/2 is not on by default, since no browser
    /// speaks it without TLS.
    public var spokenProtocols: [HTTPProtocol] {
      protocols ?? (tls == nil ? [.http1] : [.http2, .http1])
    }

    /// Every address to bind; IPv6 addresses accept IPv6 only. If a listener has several addresses,
    /// some may fail to bind because the machine lacks IPv4 or IPv6; one must succeed.
    public var addresses: [SocketAddress] { listen.flatMap(\.addresses) }
  }

  /// Text such as `localhost:8443`, and the addresses that it means.
  public struct ListenAddress: Hashable, Sendable {
    public let text: String
    /// One, or two for `localhost` and `*`: IPv4 first. Port 0 lets the kernel choose.
    public let addresses: [SocketAddress]

    public init(_ address: SocketAddress) {
      text = "\(address)"
      addresses = [address]
    }

    private init(standardPort port: UInt16) {
      text = "localhost:\(port)"
      addresses = [.ip(.loopbackV4, port: port), .ip(.loopbackV6, port: port)]
    }

    static let standard = ListenAddress(standardPort: 8443)
  }

  /// What clients speak on a listener.
  public enum ListenerProtocol: String, Choice {
    case http, tcp, udp
    static var noun: String { "the protocol of a listener" }
    static var meant: [String: ListenerProtocol] {
      ["https": .http, "tls": .tcp, "dns": .udp, "quic": .udp]
    }
  }

  /// What holds for the sessions of a UDP listener.
  public struct Sessions: Hashable, Sendable {
    public var max = 10_000
    public var maxPerClient: Int? = 1000
    /// Nil for the default, see `idleTime`.
    public var idle: TimeSpan?
    /// Replies to each datagram; nil if replies don't end a session.
    public var responses: Int?
    public var perDatagram = false

    public var idleTime: TimeSpan { idle ?? .seconds(responses == nil ? 120 : 5) }
  }

  /// A version of HTTP, by its name in ALPN.
  public enum HTTPProtocol: String, Choice {
    case http2 = "h2"
    case http1 = "http/1.1"
    static var noun: String { "a protocol" }
    static var meant: [String: HTTPProtocol] {
      ["http2": .http2, "http/2": .http2, "http/2.0": .http2, "grpc": .http2, "http1": .http1]
    }
  }

  /// How to handle invalid requests that can be repaired without changing where they end.
  public enum Desync: String, Choice {
    /// Answered with 400.
    case strict
    /// Repaired; the connection closes after the answer.
    case defensive
    /// Like `defensive`, and logged in the access log.
    case monitor
    static var noun: String { "a desync mode" }
  }

  /// How to handle a client that closes its sending side after a complete request.
  public enum HalfClose: String, Choice {
    /// Cancel the attempt: the client is considered gone.
    case abort
    /// Send the response.
    case answer
    static var noun: String { "a half-close mode" }
  }

  /// HTTP Strict Transport Security (RFC 6797).
  public struct HSTS: Hashable, Sendable {
    public var maxAge = TimeSpan.seconds(365 * 86_400)
    public var includeSubdomains = false

    public init() {}

    /// The value of Strict-Transport-Security.
    public var fieldValue: String {
      let seconds = maxAge.nanoseconds / 1_000_000_000
      return "max-age=\(seconds)" + (includeSubdomains ? "; includeSubDomains" : "")
    }
  }
}

extension Configuration.Listener: Section {
  /// For the decoder; `listen` is a required key, and the name follows it.
  init() { self.init(name: "", listen: []) }

  static let title = "listener"
  static let about = """
    An address on which clients connect. With `tls` it serves HTTPS, without it plain HTTP. With \
    `"protocol": "tcp"` it forwards connections of any protocol, with `"protocol": "udp"` datagrams.
    """
  static let keys: [Key<Self>] = [
    Key(
      "name", Form<String>.name,
      "The name of the listener in routes, metrics and logs. Default: its first address, as "
        + "written in `listen`.",
      get: { $0.name.isEmpty || $0.name == $0.listen.first?.text ? nil : $0.name },
      set: { $0.name = $1 }),
    Key(
      "listen", \.listen, .oneOrMore(of: .listenAddress), required: true,
      "Address and port. `localhost` means 127.0.0.1 and ::1. `*` means all IPv4 and IPv6 "
        + "addresses. An IPv6 address such as `[::]:443` means IPv6 only. With port 0 the kernel "
        + "chooses a port."),
    Key(
      "protocol", \.protocol, .choice,
      "`http`: requests, which the `routes` of the file distribute. `tcp`: connections of any "
        + "protocol, such as a database's. Each goes to a backend of `pool`, and bytes are "
        + "forwarded in both directions. With `tls`, Martlet ends TLS; without, TLS of the "
        + "clients is passed through. docs/operators/tcp.md explains it. `udp`: datagrams, which "
        + "go to a backend of `pool`, and replies back to the client. docs/operators/udp.md "
        + "explains it."),
    Key(
      "pool", optional: \.pool, .name,
      "Of a TCP listener: the pool of connections that match none of its `routes`. Without it, "
        + "they are closed. Of a UDP listener: the pool of its datagrams. With exactly one pool "
        + "and no `routes` you can omit it."),
    Key(
      "routes", \.routes, .list(of: .section),
      "Of a TCP listener: routes by what the client asks for in its TLS handshake. Without `tls`, "
        + "Martlet reads the first message of the handshake, waits up to `limits.handshake` for "
        + "it, and passes it on; clients that don't begin with TLS are closed then."),
    Key(
      "alpn", \.alpn, .list(of: .alpn),
      "Of a TCP listener with `tls`: the protocols that clients may agree on (ALPN), best first. "
        + "A client that offers only others is refused. Default: ALPN is not answered."),
    Key(
      "max-connections", optional: \.maxConnections, .integer(1...10_000_000),
      "Of a TCP listener: maximum number of open connections. Further ones are reset. The limits "
        + "in `limits` apply too. Default: only those."),
    Key(
      "max-connections-per-client", optional: \.maxConnectionsPerClient,
      .integer(1...10_000_000),
      "Of a TCP listener: the same for each client address; an IPv6 /64 counts as one address, "
        + "and `trusted-proxies` are not counted."),
    Key(
      "max-sessions", \.sessions.max, .integer(1...10_000_000),
      "Of a UDP listener: maximum number of sessions. For another one, the session that was not "
        + "used for the longest time ends. A session is a client's address and port with its "
        + "backend; each needs a file descriptor and a local port."),
    Key(
      "max-sessions-per-client", \.sessions.maxPerClient, .off(or: .integer(1...10_000_000)),
      "Of a UDP listener: the same for each client address; an IPv6 /64 counts as one address, "
        + "and `trusted-proxies` are not counted."),
    Key(
      "idle", optional: \.sessions.idle, .duration(.milliseconds(100) ... .seconds(86_400)),
      "Of a UDP listener: a session ends after this time without a datagram in either direction. "
        + "Default: 2m, the minimum that RFC 4787 requires of NATs; 5s with `responses`."),
    Key(
      "responses", optional: \.sessions.responses, .integer(1...1_000_000),
      "Of a UDP listener: a session ends when as many replies have come for each datagram of the "
        + "client. `1` for DNS. Default: replies don't end a session."),
    Key(
      "per-datagram", \.sessions.perDatagram, .flag,
      "Of a UDP listener: select a backend for each datagram anew, for datagrams that don't depend "
        + "on each other, such as syslog. Otherwise a session keeps its backend."),
    Key("tls", optional: \.tls, .section, "Serve TLS with these certificates."),
    Key(
      "protocols", optional: \.protocols, .list(of: .choice, minimum: 1),
      "The versions of HTTP that clients may use, best first. `h2` is HTTP/2, `http/1.1` includes "
        + "HTTP/1.0. With TLS, client and server agree on one by ALPN. Without TLS, `h2` means "
        + "that clients may begin with HTTP/2 (prior knowledge, as `curl --http2-prior-knowledge` "
        + "does); `Upgrade: h2c` is not supported. Default: `[\"h2\", \"http/1.1\"]` with `tls`, "
        + "`[\"http/1.1\"]` without. A reload applies a change to new connections."),
    Key(
      "redirect-to-https", optional: \.redirectToHTTPS,
      .port("a port to redirect to"),
      "Redirect every request to HTTPS on this port, usually 443. Routes below "
        + "`/.well-known/acme-challenge/` are not redirected, so that certificates can be "
        + "renewed (RFC 8555, 8.3). Requests that came to a trusted proxy over HTTPS are not "
        + "redirected either (`trusted-proxies`). Not allowed together with `tls`."),
    Key(
      "hsts", optional: \.hsts, .section,
      "Add Strict-Transport-Security to responses: browsers then use only HTTPS for this host. "
        + "`{}` turns it on. It needs `tls` or `trusted-proxies`; with a trusted proxy it is "
        + "added to responses to clients that use HTTPS. Off by default, because browsers keep "
        + "it for the whole `max-age`, even if you turn it off here."),
    Key(
      "desync", \.desync, .choice,
      "How to handle an invalid request that can be repaired without changing where the request "
        + "ends: a repeated Content-Length with the same value, a folded field, a space before a "
        + "colon, a field name with invalid characters, a target that is not ASCII. `strict`: "
        + "respond with 400. `defensive`: repair and count it, and close the connection after "
        + "the response. `monitor`: as `defensive`, and write to the access log what `strict` "
        + "would have refused. Use `monitor` for a limited time, to find such clients. A fault "
        + "that could change where the request ends is refused in every mode; docs/SECURITY.md "
        + "has the list."),
    Key(
      "half-close", \.halfClose, .choice,
      "How to handle a client that closes its side of the connection after a complete request "
        + "(TCP half-close). The client may still wait for the response, as `nc -N` does, or it "
        + "may be gone; Martlet can't see the difference. `abort`: cancel the request to the "
        + "backend, and log status 499, as nginx and Envoy do. `answer`: send the response, as "
        + "HAProxy does without `abortonclose`. With `answer`, backends also work for clients "
        + "that are gone, until the connection is reset."),
    Key(
      "backlog", \.backlog, .integer(1...65535),
      "Maximum number of connections that wait to be accepted. The kernel reduces it to "
        + "`net.core.somaxconn`."),
    Key(
      "tcp-keep-alive", \.tcpKeepAlive, .off(or: .section),
      "Probes on idle client connections. A reload applies a change to new connections only."),
    Key(
      "proxy-protocol", optional: \.proxyProtocol, .section,
      "Connections come from proxies that write a header of the PROXY protocol. Its address is the "
        + "client's for limits, logs, forwarding fields, `trusted-proxies` and `ip-hash`. "
        + "Default: none is expected. A reload applies a change to new connections."),
  ]
}

extension Configuration.HSTS: Section {
  static let title = "hsts"
  static let about = "HTTP Strict Transport Security (RFC 6797)."
  static let keys: [Key<Self>] = [
    Key(
      "max-age", \.maxAge, .duration(.zero ... .seconds(1000 * 86_400)),
      "How long browsers remember to use only HTTPS. `0s` makes them forget it. Default: one "
        + "year, which the browsers' preload list requires (hstspreload.org)."),
    Key(
      "include-subdomains", \.includeSubdomains, .flag,
      "Also apply to all subdomains, including those that Martlet does not serve."),
  ]
}
