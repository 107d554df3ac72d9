// Which requests go where: a host and a path on one side, an action on the other.
//
// The most specific route wins, whatever the order of the file: a named listener before any, an
// exact host before a pattern before any, an exact path before a prefix, a longer one before a
// shorter. `routes(on:)` sorts them so; whoever serves takes the first that matches.

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
    /// In front of those of the whole configuration.
    public var errorPages: [ErrorPage] = []

    public init(_ action: Action) { self.action = action }

    /// What metrics and people call it: the host and path that it matches, such as `*/api`, with a
    /// `$` behind a path that is to match exactly.
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
    /// All names below this one, not the name itself: `*.example.com` holds `example.com`.
    case below(String)

    public var description: String {
      switch self {
      case .exact(let host): host
      case .below(let suffix): "*.\(suffix)"
      }
    }
  }

  /// What becomes of a request.
  public enum Action: Hashable, Sendable {
    /// By the name of the pool, which exists.
    case forward(pool: String)
    case redirect(Redirect)
    case respond(Response)
  }

  /// A new address made of parts; what isn't given is taken from the request. The query is kept,
  /// unless `path` brings one of its own.
  public struct Redirect: Hashable, Sendable {
    /// 301, 302, 303, 307 or 308.
    public var status = 308
    public var scheme: Scheme?
    public var host: String?
    /// When it is nil and `scheme` is given, the scheme's own port.
    public var port: UInt16?
    /// The whole path, in place of the request's.
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
    /// From the signal to stop on, in place of `status`.
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
    /// As it was written; names of fields are compared without case.
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }
}

extension Configuration.Route: Section {
  /// For the decoder; an action that wasn't written is filled in or refused by the validation.
  init() { self.init(.forward(pool: "")) }

  /// The keys of which exactly one gives the action.
  static let actionKeys = ["forward", "redirect", "respond"]

  static let title = "route"
  static let about = """
    Which requests go where. The most specific route wins, in whatever order they stand: one for \
    a named listener, then an exact host before a pattern, an exact path before a prefix, and a \
    longer path before a shorter. A route has one of `forward`, `redirect` and `respond`; where \
    there is one pool, `forward` may be left out. A request without a route gets 404.
    """
  static let keys: [Key<Self>] = [
    Key(
      "host", .oneOrMore(of: .host),
      "Hosts without port; `*.example.com` stands for all names below example.com. Any host by "
        + "default.",
      get: { $0.hosts.isEmpty ? nil : $0.hosts }, set: { $0.hosts = $1 }),
    Key(
      "path", \.path, .path,
      "A prefix of the normalised path, on segment boundaries: `/api` matches `/api` and "
        + "`/api/x`, not `/apix`."),
    Key("match", \.match, .choice, "Whether `path` is a `prefix` or the `exact` path."),
    Key(
      "listeners", \.listeners, .list(of: .name),
      "Names of the listeners for which the route holds; all of them by default."),
    Key(
      "forward", Form<String>.name, "The name of the pool that serves the request.",
      get: { if case .forward(let pool) = $0.action, !pool.isEmpty { pool } else { nil } },
      set: { $0.action = .forward(pool: $1) }),
    Key(
      "redirect", .section, "Sends the client to another address.",
      get: { if case .redirect(let redirect) = $0.action { redirect } else { nil } },
      set: { $0.action = .redirect($1) }),
    Key(
      "respond", .section, "Answers without any backend.",
      get: { if case .respond(let response) = $0.action { response } else { nil } },
      set: { $0.action = .respond($1) }),
    Key("request", \.requestEdits, .section, "Changes the fields of requests to backends."),
    Key("response", \.responseEdits, .section, "Changes the fields of responses to clients."),
    Key(
      "error-pages", \.errorPages, .errorPages,
      "As the `error-pages` of the whole file, and in front of them, for requests of this route "
        + "that no backend answers."),
  ]
}

extension Configuration.Redirect: Section {
  static let title = "redirect"
  static let about = """
    A redirect to an address made of parts: what isn't given is taken from the request, and the \
    query is kept. At least one part is needed.
    """
  static let keys: [Key<Self>] = {
    let statuses = [301, 302, 303, 307, 308]
    let description = FormDescription(
      noun: "the status of a redirect", allowed: "one of 301, 302, 303, 307, 308",
      kind: "301, 302, 303, 307 or 308",
      schema: ["enum": .list(statuses.map(JSON.integer))])
    let status = Form<Int>(description) { json, decoder in
      if let status = json.integer, statuses.contains(status) { return status }
      decoder.mismatch(json, description)
      return nil
    } write: {
      .integer($0)
    }
    return [
      Key(
        "status", \.status, status,
        "308 is permanent and keeps the method, 307 is the same for now; 301 and 302 are their "
          + "older kin, after which some clients turn POST into GET; 303 always does."),
      Key("scheme", optional: \.scheme, .choice, "The new scheme, `http` or `https`."),
      Key("host", optional: \.host, .hostName, "The new host, without port."),
      Key("port", optional: \.port, .port(), "The new port. A new scheme brings its own."),
      Key("path", optional: \.path, .target, "The new path, in place of the whole old one."),
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
      "The status once Martlet was told to stop, such as 503, so that a balancer in front which "
        + "asks here sends nobody any more; see `lame-duck`."),
    Key("body", \.body, .text(example: "gone fishing\n"), "At most 64 KiB of text."),
    Key(
      "content-type", \.contentType, .text(maxByteCount: 256, example: "text/html"),
      "The Content-Type; it is sent only with a body."),
  ]
}

extension Configuration.FieldEdits: Section {
  static let title = "edits"
  static let about = """
    Changes to the fields of a request or a response. Fields that say where a message ends or for \
    whom it is, such as Content-Length, Connection and Host, are out of reach.
    """
  static let keys: [Key<Self>] = [
    Key("set", \.set, .fields, "Fields to set, in place of any that have the same name."),
    Key("remove", \.remove, .list(of: .fieldName), "Fields to take out, before others are set."),
  ]
}
