// What Martlet is to do: one immutable value, complete and checked, made from a file, the flags of
// the command line, and defaults.
//
// Everything that runs is made from this value and nothing else, and a value exists only when
// there is no error. Nothing here reads files, clocks or the environment: bytes come in, a value or
// diagnostics go out. What each key means to operators stands in the tables of keys, from which the
// reference (docs/CONFIGURATION.md) is printed; the comments here are for programmers.

public import Primitives

/// A validated configuration. Its parts are nested types, so that `Configuration.Pool` and the
/// balancer's own `Pool` can be told apart.
public struct Configuration: Hashable, Sendable {
  public var listeners = [Listener(listen: [.standard], tls: .standard)]
  public var pools: [Pool] = []
  /// Complete after reading: where the file has none, one route forwards to the only pool. Ask
  /// `routes(on:)` for what a listener does with requests.
  public var routes: [Route] = []
  /// For all routes, and for requests that come to none.
  public var errorPages: [ErrorPage] = []
  public var limits = Limits()
  public var paths = Paths()
  public var log = Log()
  /// Nil for none.
  public var tracing: Tracing?
  /// Peers whose forwarding fields are believed.
  public var trustedProxies: [AddressRange] = []
  public var forwardingField = ForwardingField.xForwardedFor
  public var via = true
  public var viaToBackends = false
  public var requestID = RequestID.forward
  /// Protocols that a client may upgrade to, in lower case.
  public var upgrades = ["websocket"]
  /// Threads; nil means one for each processor that the process may use.
  public var workers: Int?
  public var process = Process()
  public var admin = Admin()
  /// Whether a change of the file, or of a certificate, is taken up by itself.
  public var watch = true

  public init() {}

  public func pool(named name: String) -> Pool? { pools.first { $0.name == name } }
}

extension Configuration: Section {
  static let title = "configuration"
  static let about = "The file as a whole."
  static let keys: [Key<Self>] = [
    Key(
      "$schema", .text(example: "docs/config.schema.json"),
      "Where an editor finds the JSON Schema that completes and checks the file. Martlet itself "
        + "ignores it.",
      get: { _ in nil }, set: { _, _ in }),
    Key(
      "listeners", \.listeners, .list(of: .section, minimum: 1),
      "Where clients connect. By default port 8443 of this machine, with TLS."),
    Key(
      "pools", \.pools, .list(of: .section),
      "Groups of backends that serve the same thing."),
    Key(
      "routes", \.routes, .list(of: .section),
      "Which requests go where; the order doesn't matter, since the most specific route wins. "
        + "With one pool it may be left out: then all requests go there."),
    Key(
      "error-pages", \.errorPages, .errorPages,
      "Files to send in place of Martlet's own pages for errors, by status (`\"503\"`) or for a "
        + "class of them (`\"5xx\"`); the nearer one goes first. What a backend answers is never "
        + "replaced. At most 64 KiB, HTML, text, JSON or XML by the end of the name (`.html`, "
        + "`.txt`, `.json`, `.xml`), in UTF-8, read when the configuration is. In it `{status}`, "
        + "`{reason}`, `{message}` (a sentence) and `{request-id}` are replaced. Programs that "
        + "ask for JSON get JSON all the same."),
    Key(
      "limits", \.limits, .section,
      "What clients may take: sizes, counts and times. Each one is there because without it a "
        + "single client could hold as much as it likes."),
    Key("paths", \.paths, .section, "How paths are normalised before routes are chosen."),
    Key("log", \.log, .section, "What is logged, how, and where to."),
    Key(
      "tracing", optional: \.tracing, .section, "OpenTelemetry traces. Off without this section."),
    Key(
      "trusted-proxies", \.trustedProxies, .list(of: .addressRange),
      "Proxies in front of Martlet. Only they are believed when they say, in X-Forwarded-For "
        + "and its like, for whom they speak and whether it came by https; what others say there "
        + "is replaced. docs/SECURITY.md lists the fields. Nobody by default, because whoever is "
        + "believed can choose the address that is logged, limited and hashed."),
    Key(
      "forwarding-field", \.forwardingField, .choice,
      "The field that the trusted proxies write. The other one they pass on as the client sent "
        + "it, so it isn't read, and backends don't get it. `x-forwarded-for`: that field, and "
        + "X-Forwarded-Proto and -Host beside it, as nearly all proxies do. `forwarded`: Forwarded "
        + "alone (RFC 7239). `both`: each of them in every request, as Martlet does itself; "
        + "X-Forwarded-For is the one that is read."),
    Key(
      "via", \.via, .flag,
      "Whether responses to clients get a Via field (RFC 9110 7.6.3)."),
    Key(
      "via-to-backends", \.viaToBackends, .flag,
      "Whether requests to backends get one too. RFC 9110 7.6.3 asks for it, but nginx and other "
        + "servers don't compress what they answer to a request with Via, since the proxy might "
        + "not understand it (`gzip_proxied`). So it is off by default; turn it on where several "
        + "proxies stand in a row and loops have to be found."),
    Key(
      "request-id", \.requestID, .choice,
      "X-Request-ID, by which one request can be found in the logs of all who had part in it. A "
        + "client's own is kept if it is one field of at most 128 visible characters; else a "
        + "random one is set. `forward`: the backend gets it, and the access log has it. "
        + "`return`: the client gets it as well, in the answer. `off`: it is passed on as it is."),
    Key(
      "upgrades", \.upgrades, .list(of: .upgradeProtocol),
      "Protocols for which an Upgrade is passed on; after the backend's 101 bytes flow both "
        + "ways. A version belongs to the name, as in `SPDY/3.1` (kubectl); `tcp` serves "
        + "`docker exec` and `docker attach`. An empty list allows none."),
    Key(
      "workers", optional: \.workers, .integer(1...1024),
      "Threads that serve. By default one for each processor that the process may use, which "
        + "respects affinity and the limits of a container."),
    Key("process", \.process, .section, "How Martlet runs as a process."),
    Key("admin", \.admin, .section, "Where the running process is watched and steered."),
    Key(
      "watch", \.watch, .flag,
      "Whether Martlet reloads by itself when this file, a certificate, a key, a ticket key, an "
        + "error page or a file of `admin` changes, about a second after the last write. SIGHUP "
        + "and `martlet reload` work either way. A file with a mistake changes nothing."),
  ]
}
