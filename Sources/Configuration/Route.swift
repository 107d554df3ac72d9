// Routes: a host and a path that select a request, and an action.
//
// The most specific route wins, whatever the order in the file: a named listener before any, an
// exact host before a pattern before any, an exact path before a prefix, a longer path before a
// shorter one. `routes(on:)` sorts them in this order; the server takes the first match.

extension Configuration {
  public struct Route: Hashable, Sendable, CustomStringConvertible {
    /// Empty for any host.
    public var hosts: [HostPattern] = []
    /// Of the normalised path. As a prefix it matches on segment boundaries: `/api` and `/api/`
    /// both match `/api` and `/api/x` but not `/apix`.
    public var path = "/"
    public var match = PathMatch.prefix
    /// Names of listeners; empty for all.
    public var listeners: [String] = []
    public var action: Action
    public var requestEdits = FieldEdits()
    public var responseEdits = FieldEdits()
    /// They take precedence over those of the whole configuration.
    public var errorPages: [ErrorPage] = []
    /// Whether calls of gRPC-Web are translated to gRPC.
    public var translatesGRPCWeb = false
    public var fault: Fault?

    public init(_ action: Action) { self.action = action }

    /// The name of the route in metrics and logs: its host and path, such as `*/api`. A `$` at the
    /// end means an exact path.
    public var description: String {
      let host = hosts.isEmpty ? "*" : hosts.map(\.description).joined(separator: ",")
      return host + path + (match == .exact ? "$" : "")
    }
  }

  public enum PathMatch: String, Choice {
    case prefix, exact
    static var noun: String { "a way to match a path" }
  }

  /// Hosts in lower case, without port; IPv6 addresses in brackets.
  public enum HostPattern: Hashable, Sendable, CustomStringConvertible {
    case exact(String)
    /// All names below this one, not the name itself; `*.example.com` is stored as `example.com`.
    case below(String)

    public var description: String {
      switch self {
      case .exact(let host): host
      case .below(let suffix): "*.\(suffix)"
      }
    }
  }

  /// What happens to a request.
  public enum Action: Hashable, Sendable {
    /// To the pool with this name, which exists.
    case forward(pool: String)
    case redirect(Redirect)
    case respond(Response)
  }

  /// The parts of the new URL; nil parts are taken from the request. The query is kept, unless
  /// `path` contains one.
  public struct Redirect: Hashable, Sendable {
    /// 301, 302, 303, 307 or 308.
    public var status = 308
    public var scheme: Scheme?
    public var host: String?
    /// If it is nil and `scheme` is set, the default port of the scheme.
    public var port: UInt16?
    /// Replaces the whole path of the request.
    public var path: String?

    public init() {}

    public enum Scheme: String, Choice {
      case http, https
      static var noun: String { "a scheme" }
    }
  }

  /// A response without any backend.
  public struct Response: Hashable, Sendable {
    /// 200 to 599, never 204 or 304 with a body.
    public var status = 200
    /// Replaces `status` after the signal to stop.
    public var drainingStatus: Int?
    public var body = ""
    public var contentType = "text/plain; charset=utf-8"

    public init() {}
  }

  /// Changes to the fields of a head: first `remove`, then `set`.
  public struct FieldEdits: Hashable, Sendable {
    /// Replaces all fields of that name.
    public var set: [Field] = []
    public var remove: [String] = []

    public init() {}

    public var isEmpty: Bool { self.set.isEmpty && remove.isEmpty }
  }

  public struct Field: Hashable, Sendable {
    /// As written; field names are compared without case.
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }
}

extension Configuration.Route: Section {
  /// For the decoder. The validation sets or reports a missing action.
  init() { self.init(.forward(pool: "")) }

  /// A route has exactly one of these keys.
  static let actionKeys = ["forward", "redirect", "respond"]

  static let title = "route"
  static let about = """
    Selects what happens to a request. If several routes match, the most specific one wins; their \
    order in the file does not matter. A route with `listeners` wins over one without, then an \
    exact host over a pattern, an exact path over a prefix, and a longer path over a shorter one. \
    A route has one of `forward`, `redirect` and `respond`. With exactly one pool you can omit \
    `forward`. A request without a matching route gets 404.
    """
  static let keys: [Key<Self>] = [
    Key(
      "host", .oneOrMore(of: .host),
      "Hosts without port. `*.example.com` matches all names below example.com. Default: any "
        + "host.",
      get: { $0.hosts.isEmpty ? nil : $0.hosts }, set: { $0.hosts = $1 }),
    Key(
      "path", \.path, .path,
      "Prefix of the normalised path. It matches whole segments: `/api` matches `/api` and "
        + "`/api/x`, but not `/apix`."),
    Key(
      "match", \.match, .choice,
      "`prefix`: match `path` and all paths below it. `exact`: match only `path` itself."),
    Key(
      "listeners", \.listeners, .list(of: .name),
      "Names of the listeners to which the route applies. Default: all listeners."),
    Key(
      "forward", Form<String>.name, "Send the request to the pool with this name.",
      get: { if case .forward(let pool) = $0.action, !pool.isEmpty { pool } else { nil } },
      set: { $0.action = .forward(pool: $1) }),
    Key(
      "redirect", .section, "Redirect the client to another URL.",
      get: { if case .redirect(let redirect) = $0.action { redirect } else { nil } },
      set: { $0.action = .redirect($1) }),
    Key(
      "respond", .section, "Send a fixed response, without a backend.",
      get: { if case .respond(let response) = $0.action { response } else { nil } },
      set: { $0.action = .respond($1) }),
    Key("request", \.requestEdits, .section, "Change the fields of requests to backends."),
    Key("response", \.responseEdits, .section, "Change the fields of responses to clients."),
    Key(
      "error-pages", \.errorPages, .errorPages,
      "Error pages for requests to this route. They take precedence over the `error-pages` of "
        + "the whole file. Responses from backends are never replaced."),
    Key(
      "grpc-web", \.translatesGRPCWeb, .flag,
      "`true`: translate calls of gRPC-Web, which browsers use, to gRPC, and the responses back. "
        + "The backends of the pool must speak HTTP/2 (`protocol`). Other requests are forwarded "
        + "as they are."),
    Key(
      "fault", optional: \.fault, .section,
      "Delay a part of the requests, or answer them with an error, to test clients and alarms."),
  ]
}

extension Configuration.Redirect: Section {
  static let title = "redirect"
  static let about = """
    A redirect. Parts of the URL that you don't set are taken from the request. The query is kept, \
    unless `path` contains a query. Set at least one part.
    """
  static let keys: [Key<Self>] = {
    let statuses = [301, 302, 303, 307, 308]
    let description = FormDescription(
      noun: "a redirect status", allowed: "one of 301, 302, 303, 307, 308",
      kind: "301, 302, 303, 307 or 308",
      schema: ["enum": .list(statuses.map(JSON.integer))])
    let status = Form<Int>(description) { json, decoder in
      if let status = json.integer, statuses.contains(status) { return status }
      let bare = json.text.flatMap(Int.init).flatMap { statuses.contains($0) ? "\($0)" : nil }
      decoder.mismatch(json, description, suggestion: bare)
      return nil
    } write: {
      .integer($0)
    }
    return [
      Key(
        "status", \.status, status,
        "308 is permanent, 307 is temporary; both keep the method. 301 (permanent) and 302 "
          + "(temporary) are older: some clients then change POST to GET. With 303, clients "
          + "always use GET."),
      Key("scheme", optional: \.scheme, .choice, "The new scheme, `http` or `https`."),
      Key("host", optional: \.host, .hostName, "The new host, without port."),
      Key(
        "port", optional: \.port, .port(),
        "The new port. Default: the default port of `scheme` if that is set, otherwise the port "
          + "of the request."),
      Key(
        "path", optional: \.path, .target,
        "The new path. It replaces the whole path of the request."),
    ]
  }()
}

extension Configuration.Response: Section {
  static let title = "respond"
  static let about = "A fixed response."
  static let keys: [Key<Self>] = [
    Key("status", \.status, .integer(200...599), "The status of the response."),
    Key(
      "draining-status", optional: \.drainingStatus, .integer(200...599),
      "The status while Martlet stops, such as 503. A load balancer in front that checks this "
        + "route then sends no more requests. See `lame-duck`."),
    Key(
      "body", \.body, .text(example: "pong\n"),
      "The text of the response, at most 64 KiB."),
    Key(
      "content-type", \.contentType, .text(maxByteCount: 256, example: "text/html"),
      "The Content-Type of the response. Not sent if `body` is empty."),
  ]
}

extension Configuration.FieldEdits: Section {
  static let title = "edits"
  static let about = """
    Changes to the fields of a request or a response. Fields that control where a message ends or \
    where it goes can't be changed, such as Content-Length, Connection and Host.
    """
  static let keys: [Key<Self>] = [
    Key("set", \.set, .fields, "Fields to set. They replace all fields with the same name."),
    Key(
      "remove", \.remove, .list(of: .fieldName),
      "Fields to remove. Martlet first removes fields, then sets the others."),
  ]
}
