// Routes of a TCP listener: which pool gets a connection, by what the client asks for in its TLS
// handshake. They don't depend on the order in the file.

extension Configuration {
  public struct TCPRoute: Hashable, Sendable {
    /// Server names (SNI); empty for any, and for clients that send none.
    public var names: [HostPattern] = []
    /// Protocols of ALPN; empty for any.
    public var alpn: [String] = []
    public var pool: String

    public init(pool: String) { self.pool = pool }
  }

  /// One place in the order of a listener's routes.
  public struct TCPPlace: Hashable, Sendable, CustomStringConvertible {
    public let name: HostPattern?
    public let alpn: String?
    public let pool: String

    public var description: String {
      (name.map { "\($0)" } ?? "*") + (alpn.map { " (\($0))" } ?? "")
    }
  }

  /// The routes of a TCP listener, one entry for each name and protocol, the most specific first:
  /// an exact name, then the longest pattern; among the same names, those with a protocol.
  public func places(on listener: Listener) -> [TCPPlace] {
    let places = listener.routes.flatMap { route -> [TCPPlace] in
      let names = route.names.isEmpty ? [nil] : route.names.map(Optional.some)
      let protocols = route.alpn.isEmpty ? [nil] : route.alpn.map(Optional.some)
      return names.flatMap { name in
        protocols.map { TCPPlace(name: name, alpn: $0, pool: route.pool) }
      }
    }
    return places.enumerated().sorted {
      ($1.element.rank, $0.offset) < ($0.element.rank, $1.offset)
    }.map(\.element)
  }

  /// What the backends of a pool get: a version of HTTP, `tcp` or `udp`.
  public func spoken(by pool: Pool) -> String {
    if tcpPools.contains(pool.name) { return "tcp" }
    return udpPools.contains(pool.name) ? "udp" : pool.protocol.rawValue
  }

  /// The pools to which TCP listeners forward.
  public var tcpPools: Set<String> {
    Set(
      listeners.filter { $0.protocol == .tcp }.flatMap { listener in
        [listener.pool].compactMap { $0 } + listener.routes.map(\.pool)
      })
  }
}

extension Configuration.TCPPlace {
  fileprivate var rank: Int {
    let length =
      switch name {
      case .exact: 1 << 20
      case .below(let suffix): 1 + suffix.utf8.count
      case nil: 0
      }
    return 2 * length + (alpn == nil ? 0 : 1)
  }
}

extension Configuration.TCPRoute: Section {
  init() { self.init(pool: "") }

  static let title = "tcp route"
  static let about = """
    A route of a TCP listener: it selects the pool by what the client asks for in its TLS \
    handshake. The order of the routes does not matter: an exact name wins over a pattern, a \
    longer pattern over a shorter one, and a route with `alpn` over one without. Connections that \
    match no route go to the `pool` of the listener, or are closed.
    """
  static let keys: [Key<Self>] = [
    Key(
      "sni", .oneOrMore(of: .host),
      "Server names, as clients send them in the handshake (SNI). `*.example.com` matches all "
        + "names below example.com. Default: any name, or none.",
      get: { $0.names.isEmpty ? nil : $0.names }, set: { $0.names = $1 }),
    Key(
      "alpn", .oneOrMore(of: .alpn),
      "Protocols (ALPN). With `tls`, the protocol that Martlet and the client have agreed on; it "
        + "must be in the listener's `alpn`. Without `tls`, one that the client offers. Default: "
        + "any, or none.",
      get: { $0.alpn.isEmpty ? nil : $0.alpn }, set: { $0.alpn = $1 }),
    Key("pool", \.pool, .name, required: true, "The pool that gets these connections."),
  ]
}

extension Form where Value == String {
  /// A name of ALPN (RFC 7301 6), such as `h2`.
  static var alpn: Form {
    Form(
      text: FormDescription(
        noun: "the name of a protocol",
        allowed: "write one of ALPN, such as \"h2\" or \"postgresql\"", kind: "protocol",
        schema: ["type": "string", "minLength": 1, "maxLength": 255])
    ) { text in
      let isVisible = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
      return isVisible && (1...255).contains(text.utf8.count) ? text : nil
    } write: {
      $0
    }
  }

  /// Bytes: each character up to U+00FF is one.
  static var bytes: Form {
    Form(
      text: FormDescription(
        noun: "bytes",
        allowed: "write text such as \"PING\\r\\n\", at most 1 KiB, in which each"
          + " character is a byte (\"\\u0000\" to \"\\u00ff\")", kind: "bytes",
        schema: ["type": "string", "minLength": 1, "maxLength": 1024])
    ) { text in
      let scalars = text.unicodeScalars
      return scalars.allSatisfy { $0.value <= 0xFF } && (1...1024).contains(scalars.count)
        ? text : nil
    } write: {
      $0
    }
  }
}
