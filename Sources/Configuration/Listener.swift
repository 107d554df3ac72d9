// Where clients connect: addresses, and what is spoken there.

public import Primitives

extension Configuration {
  /// One or more addresses that serve the same routes in the same way.
  public struct Listener: Hashable, Sendable {
    /// Unique. The text of its first address, unless it was given a name.
    public var name: String
    public var listen: [ListenAddress]
    /// Nil for plain HTTP.
    public var tls: TLS?
    /// The port that clients of this plain listener are sent to; nil when it serves by itself.
    /// `routes(on:)` has the redirect in it already.
    public var redirectToHTTPS: UInt16?
    /// `routes(on:)` sets the field already.
    public var hsts: HSTS?
    public var desync = Desync.strict
    public var halfClose = HalfClose.abort
    /// Connections that the kernel keeps until they are accepted, for each socket.
    public var backlog = 4096
    /// Probes on quiet connections of clients; nil for none.
    public var tcpKeepAlive: TCPKeepAlive? = TCPKeepAlive()

    public init(name: String? = nil, listen: [ListenAddress], tls: TLS? = nil) {
      self.name = name ?? listen.first?.text ?? ""
      self.listen = listen
      self.tls = tls
    }

    /// Every address to bind, IPv6 ones for IPv6 alone. When a listener has several, the one of a
    /// protocol that the machine doesn't have may fail to be bound, as long as another doesn't.
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

  /// What is done about requests whose faults can be repaired without moving a boundary.
  public enum Desync: String, Choice {
    /// Answered with 400.
    case strict
    /// Repaired; the connection closes after the answer.
    case defensive
    /// As defensive, and named in the access log.
    case monitor
    static var noun: String { "a desync mode" }
  }

  /// What is done about a client that ends its side of the connection behind a whole request.
  public enum HalfClose: String, Choice {
    /// It is gone: the attempt is cancelled.
    case abort
    /// It gets its answer.
    case answer
    static var noun: String { "what becomes of half-closed connections" }
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
  static let about = "Where clients connect. With `tls` it speaks HTTPS, without it plain HTTP."
  static let keys: [Key<Self>] = [
    Key(
      "name", Form<String>.name,
      "What routes, metrics and logs call it. By default its address as written.",
      get: { $0.name.isEmpty || $0.name == $0.listen.first?.text ? nil : $0.name },
      set: { $0.name = $1 }),
    Key(
      "listen", \.listen, .oneOrMore(of: .listenAddress), required: true,
      "Address and port. `localhost` stands for 127.0.0.1 and ::1, `*` for all addresses of "
        + "IPv4 and IPv6, and an IPv6 address such as `[::]:443` for IPv6 alone. Port 0 lets the "
        + "kernel choose."),
    Key("tls", optional: \.tls, .section, "Speak TLS, with these certificates."),
    Key(
      "redirect-to-https", optional: \.redirectToHTTPS,
      .port("the port to redirect to"),
      "Answers every request with a redirect to this port by https, 443 for most. Routes whose "
        + "path lies in `/.well-known/acme-challenge/` are served as ever, so that certificates "
        + "can be renewed. So are requests of which a trusted proxy says that they came to it by "
        + "https (`trusted-proxies`). Not together with `tls`."),
    Key(
      "hsts", optional: \.hsts, .section,
      "Adds Strict-Transport-Security to responses: browsers that saw it use https alone from "
        + "then on. Off by default, because it can't be taken back before its time. `{}` is "
        + "enough to turn it on; it needs `tls`, or `trusted-proxies` that speak it: then it is "
        + "added where they say that the client came by https."),
    Key(
      "desync", \.desync, .choice,
      "What becomes of a request that the RFCs call invalid but whose fault can be repaired in "
        + "such a way that no server sees another boundary: a length stated twice, a folded "
        + "field, a space before a colon, a field name with odd characters, a target that isn't "
        + "ASCII. `strict`: 400. "
        + "`defensive`: it is repaired, counted, and the connection closes after the answer. "
        + "`monitor`: the same, and the access log names what strict would have refused; for a "
        + "time, to see who such clients are. What could move a boundary is refused in each "
        + "mode; docs/SECURITY.md has the list."),
    Key(
      "half-close", \.halfClose, .choice,
      "What becomes of a whole request when its client has ended its side of the connection: the "
        + "client may wait for the answer, as `nc -N` does, or be gone, which looks the same. "
        + "`abort`: it is taken for gone, the backend's work is cancelled, and the log has 499; "
        + "as nginx and Envoy do it. `answer`: the answer is sent, and backends also work for "
        + "clients that are gone, until a reset shows it; as HAProxy does it without "
        + "`abortonclose`."),
    Key(
      "backlog", \.backlog, .integer(1...65535),
      "Connections that wait to be accepted; the kernel lowers it to net.core.somaxconn."),
    Key(
      "tcp-keep-alive", \.tcpKeepAlive, .off(or: .section),
      "Probes on quiet connections of clients. A reload puts a change in force for connections "
        + "that are made from then on."),
  ]
}

extension Configuration.HSTS: Section {
  static let title = "hsts"
  static let about = "HTTP Strict Transport Security (RFC 6797)."
  static let keys: [Key<Self>] = [
    Key(
      "max-age", \.maxAge, .duration(.zero ... .seconds(1000 * 86_400)),
      "How long browsers remember it; \"0s\" makes them forget. A year, which is what lists of "
        + "preloaded sites ask for."),
    Key(
      "include-subdomains", \.includeSubdomains, .flag,
      "Whether it holds for all names below as well, also those that aren't served here."),
  ]
}
