// The configuration: one immutable, validated value, made from a file, command line flags and
// defaults.
//
// The server is built from this value only, and a value exists only if there was no error. Nothing
// here reads files, clocks or the environment: bytes come in, a value or diagnostics go out. The
// tables of keys describe each key for operators, and the reference (docs/CONFIGURATION.md) is
// generated from them; the comments here are for programmers.

public import Primitives

/// A validated configuration. Its parts are nested types, to distinguish `Configuration.Pool` from
/// the balancer's `Pool`.
public struct Configuration: Hashable, Sendable {
  public var listeners = [Listener(listen: [.standard], tls: .standard)]
  public var pools: [Pool] = []
  /// If the file has no routes, this contains one that forwards to the only pool. `routes(on:)`
  /// returns the routes of a listener.
  public var routes: [Route] = []
  /// For all routes, and for requests that match no route.
  public var errorPages: [ErrorPage] = []
  public var limits = Limits()
  public var paths = Paths()
  public var log = Log()
  /// Nil for none.
  public var tracing: Tracing?
  /// Peers whose forwarding fields are accepted.
  public var trustedProxies: [AddressRange] = []
  public var forwardingField = ForwardingField.xForwardedFor
  public var via = true
  public var viaToBackends = false
  public var requestID = RequestID.forward
  /// Protocols that a client may upgrade to, in lower case.
  public var upgrades = ["websocket"]
  /// The zone in which this process runs, for pools whose backends have zones; nil for none.
  public var zone: String?
  /// Number of threads; nil means one per processor that the process may use.
  public var workers: Int?
  public var process = Process()
  public var admin = Admin()
  /// Reload automatically when the file or a certificate changes.
  public var watch = true
  /// Set by `--demo`; it has no key in the file.
  public internal(set) var demoBackends: [DemoBackend] = []

  public init() {}

  public func pool(named name: String) -> Pool? { pools.first { $0.name == name } }
}

extension Configuration: Section {
  static let title = "configuration"
  static let about = "The top level of the file."
  static let keys: [Key<Self>] = [
    Key(
      "$schema", .text(example: "docs/config.schema.json"),
      "The JSON Schema of this file. Editors use it to complete and check keys. Martlet ignores "
        + "this key.",
      get: { _ in nil }, set: { _, _ in }),
    Key(
      "listeners", \.listeners, .list(of: .section, minimum: 1),
      "The addresses on which clients connect. Default: port 8443 of this machine, with TLS."),
    Key(
      "pools", \.pools, .list(of: .section),
      "Groups of backends. All backends of a pool serve the same content."),
    Key(
      "routes", \.routes, .list(of: .section),
      "Rules that select what happens to a request. Their order does not matter: the most "
        + "specific route wins. With exactly one pool you can omit `routes`: then all requests "
        + "go to that pool."),
    Key(
      "error-pages", \.errorPages, .errorPages,
      "Files that replace Martlet's own error pages. Each key is a status (`\"503\"`) or a class "
        + "of statuses (`\"5xx\"`). A status takes precedence over its class. Responses from "
        + "backends are never replaced. The name of the file must end in `.html`, `.txt`, "
        + "`.json` or `.xml`. A file has at most 64 KiB of UTF-8 text; Martlet reads it at start "
        + "and at each reload. It replaces `{status}`, `{reason}`, `{message}` (a sentence) and "
        + "`{request-id}` in the file. Clients that ask for JSON (`Accept`) still get JSON."),
    Key(
      "limits", \.limits, .section,
      "Limits on what clients can use: sizes, counts and times. Without them, a single client "
        + "could use up memory or connections."),
    Key("paths", \.paths, .section, "How paths are normalised before a route is selected."),
    Key("log", \.log, .section, "What is logged, in which format, and where."),
    Key(
      "tracing", optional: \.tracing, .section,
      "OpenTelemetry traces. Without this section, tracing is off."),
    Key(
      "trusted-proxies", \.trustedProxies, .list(of: .addressRange),
      "Addresses of proxies in front of Martlet. Martlet accepts the client address and scheme "
        + "in X-Forwarded-For and similar fields only from these addresses. In requests from "
        + "other addresses it replaces these fields; docs/SECURITY.md lists them. Empty by "
        + "default, because a trusted peer can choose the client address that Martlet logs, "
        + "limits and hashes."),
    Key(
      "forwarding-field", \.forwardingField, .choice,
      "The field in which the trusted proxies send the client address. Martlet ignores and "
        + "removes the other field, because a proxy that does not write it may pass it on from "
        + "the client. `x-forwarded-for`: X-Forwarded-For, with X-Forwarded-Proto and "
        + "X-Forwarded-Host; most proxies send these. `forwarded`: only Forwarded (RFC 7239). "
        + "`both`: the proxies write both in every request, as Martlet does; Martlet reads "
        + "X-Forwarded-For."),
    Key(
      "via", \.via, .flag,
      "Add a Via field to responses to clients (RFC 9110, 7.6.3)."),
    Key(
      "via-to-backends", \.viaToBackends, .flag,
      "Add a Via field to requests to backends. RFC 9110, 7.6.3 requires it, but nginx and other "
        + "servers do not compress responses to requests with Via (`gzip_proxied` in nginx). So "
        + "it is off by default. Turn it on to detect loops in a chain of proxies."),
    Key(
      "request-id", \.requestID, .choice,
      "How to handle X-Request-ID, which identifies a request in the logs of all servers. "
        + "Martlet keeps the client's ID if it is a single field of at most 128 visible "
        + "characters; otherwise it sets a random one. `forward`: send the ID to the backend, "
        + "and log it. `return`: as `forward`, and also send the ID to the client in the "
        + "response. `off`: pass the field on unchanged."),
    Key(
      "upgrades", \.upgrades, .list(of: .upgradeProtocol),
      "Protocols that a client may switch to with Upgrade (RFC 9110, 7.8). After the backend "
        + "responds with 101, Martlet relays bytes in both directions. If a protocol has a "
        + "version, it is part of the name, such as `SPDY/3.1` (kubectl). `docker exec` and "
        + "`docker attach` need `tcp`. An empty list disables upgrades."),
    Key(
      "zone", optional: \.zone, .zone,
      "The zone in which this Martlet runs, such as a data centre. Backends with the same `zone` "
        + "are preferred. Without it, zones of backends have no effect."),
    Key(
      "workers", optional: \.workers, .integer(1...1024),
      "Number of worker threads. Default: one per processor that the process may use (CPU "
        + "affinity and container limits count)."),
    Key("process", \.process, .section, "User, group, PID file and security of the process."),
    Key("admin", \.admin, .section, "The admin interface: metrics, dashboard and API."),
    Key(
      "watch", \.watch, .flag,
      "Reload automatically about a second after a change of this file, or of a certificate, "
        + "key, ticket key, error page or file of `admin` that it names. If the new "
        + "configuration has an error, the old one stays in force. SIGHUP and `martlet reload` "
        + "work in either case."),
  ]
}
