// What would happen to a request, without sending it: the route, the pool, each backend with the
// reason why it would be selected or not, and the answer if no backend would give one.

import Balancing
import Configuration
import HTTP
import Primitives
import Proxy

struct Explanation {
  let view: AdminView
  let now: Instant

  func explain(_ query: [String: String]) -> AdminDocument {
    if let url = query["url"], let connection = ConnectionTarget(url) {
      return explain(connection, query)
    }
    guard let url = query["url"], let target = Target(url) else {
      return .error(400, Self.incomplete(query["url"] ?? ""))
    }
    let client: ExplainedClient
    do throws(ExplainedClient.Mistake) {
      client = try ExplainedClient(query)
    } catch {
      return .error(400, error.message)
    }
    let index: Int
    switch listener(for: target, named: query["listener"]) {
    case .found(let place): index = place
    case .none(let why): return .error(404, why)
    }
    let listener = view.configuration.listeners[index]
    return AdminDocument { json in
      json.member("method", query["method"] ?? "GET")
      json.member("url", url)
      json.member("listener", listener.name)
      if let senders = listener.proxyProtocol {
        let from = senders.from.map { "\($0)" }.joined(separator: ", ")
        json.member("accepts", "connections with a PROXY header, only from \(from)")
      }
      if !listens(index, on: target) {
        json.member(
          "note",
          "no listener has port \(target.effectivePort); this is the result if another program,"
            + " such as a container runtime, forwards its connections to \(listener.name)")
      }
      explainRoute(target, listener, index, client, to: &json)
    }
  }

  /// `/path` and `example.com/path` are completed in the example.
  private static func incomplete(_ url: String) -> String {
    var example = "https://example.com/path"
    if url.hasPrefix("/") {
      example = "https://example.com\(url)"
    } else if !url.isEmpty && !url.contains("://") {
      example = "https://\(url)"
    }
    return "'\(url)' is not a whole URL; write one such as \(example)"
  }

  /// Whether the listener has the port of the URL.
  private func listens(_ index: Int, on target: Target) -> Bool {
    let name = view.configuration.listeners[index].name
    return view.addresses.contains {
      $0.listener == name && $0.address.hasSuffix(":\(target.effectivePort)")
    }
  }

  private enum Choice {
    case found(Int)
    case none(String)
  }

  /// The listener with the port of the URL. Without a port it may be another than 443 or 80,
  /// because the port that clients use can be mapped to it.
  private func listener(for target: Target, named name: String?) -> Choice {
    let listeners = view.configuration.listeners
    let scheme = target.isTLS ? "https" : "http"
    let fitting = listeners.indices.filter { index in
      listeners[index].protocol == .http && (listeners[index].tls != nil) == target.isTLS
        && (name == nil || name == listeners[index].name)
    }
    let port = target.effectivePort
    if let index = fitting.first(where: { listens($0, on: target) }) { return .found(index) }
    if target.port == nil || name != nil, let index = fitting.first { return .found(index) }
    if let other = listeners.indices.first(where: { listens($0, on: target) }) {
      let forwarded = listeners[other].protocol
      if forwarded != .http {
        return .none(
          "the listener \(listeners[other].name) on port \(port) forwards"
            + " \(forwarded.rawValue.uppercased()); ask for"
            + " \(forwarded.rawValue)://\(target.host):\(port)")
      }
      let spoken = listeners[other].tls == nil ? "http" : "https"
      return .none("the listener \(listeners[other].name) on port \(port) speaks \(spoken)")
    }
    let known = view.addresses.map { "\($0.isTLS ? "https" : "http")://\($0.address)" }
    return target.port == nil
      ? .none("no listener speaks \(scheme)")
      : .none("no listener has port \(port); there are \(known.joined(separator: ", "))")
  }

  private func explainRoute(
    _ target: Target, _ listener: Configuration.Listener, _ index: Int, _ client: ExplainedClient,
    to json: inout JSONWriter
  ) {
    var normal = ByteBuffer()
    let host = Array(target.host.utf8)
    var path = Array(target.path.utf8)
    switch normalise(path.span, policy: view.snapshot.settings.paths, into: &normal) {
    case .refused:
      json.member("answer", "400, the path is refused (bad-path)")
      return
    case .normal: break
    case .rewritten: path = normal.array(0..<normal.count)
    }
    json.member("path", String(decoding: path, as: UTF8.self))
    let table = view.snapshot.listeners[index].rules.table
    guard let place = table.match(host: host.span, path: path.span) else {
      json.member("answer", "404, no route matches (no-route)")
      return
    }
    let route = view.configuration.routes(on: listener)[place]
    json.member("route", "\(route)")
    json.member("action", route.action.summary)
    json.member(
      "stages",
      view.snapshot.listeners[index].rules.routes[place].stages.names.joined(separator: ", "))
    if case .forward(let name) = route.action, let settings = view.pool(named: name)?.settings {
      let kept = backend(of: client, query: target.query, in: settings)
      explainPool(name, kept, to: &json)
    }
  }

  /// `kept`: the backend of the client or of its key, if that is known.
  func explainPool(_ name: String, _ kept: KeptBackend?, to json: inout JSONWriter) {
    guard let (settings, configured) = view.pool(named: name) else { return }
    let pool = settings.pool
    let carried = settings.protocol.carried
    json.member("pool", name)
    json.member("strategy", configured.strategy.rawValue)
    json.member("protocol", view.configuration.spoken(by: configured))
    if let header = configured.proxyProtocol {
      json.member("sends", "a PROXY header, \(header.text)")
    }
    if let kept {
      json.member("key", kept.key)
      json.member("backend", kept.address)
    }
    json.array("candidates") { json in
      for candidate in pool.candidates(settings.check, carried: carried, at: now) {
        json.object { json in
          json.member("backend", candidate.member.record.identity.address)
          json.member("protocol", candidate.member.record.spoken.map { "\($0.name)" })
          json.member("verdict", candidate.verdict)
          json.member("weight", candidate.member.record.weightOverride ?? candidate.member.weight)
          json.member("active", candidate.member.record.activeCount)
        }
      }
      for unresolved in view.names.unresolved(in: configured) {
        json.object { json in
          json.member("backend", "\(unresolved.backend.endpoint)")
          json.member("protocol", nil as String?)
          json.member("verdict", "unresolved: \(unresolved.reason)")
          json.member("weight", unresolved.backend.weight)
          json.member("active", 0)
        }
      }
    }
    var order = configured.order(of: carried)
    if kept == nil && configured.strategy.hasAffinity {
      order += "; \(configured.whatIsMissing) shows which"
    }
    json.member("order", order)
    pool.writeLevels(at: now, to: &json)
    guard let effect = pool.effectOfOutage else { return }
    switch pool.allDown {
    case .refuse where !pool.isPanicking:
      json.member("answer", "503, no backend is available (all-down)")
    case .reset where !pool.isPanicking:
      json.member("answer", "a reset, no backend is available (all-down)")
    case .drop where !pool.isPanicking:
      json.member("answer", "dropped, no backend is available (all-down)")
    case .refuse, .reset, .drop, .failOpen:
      json.member("answer", "no backend is available: \(effect)")
    }
  }
}

/// The parts of an absolute URL that choose a route.
private struct Target {
  let isTLS: Bool
  let host: String
  let port: UInt16?
  let path: String
  let query: String

  var effectivePort: UInt16 { port ?? (isTLS ? 443 : 80) }

  init?(_ url: String) {
    let parts = url.split(separator: "://", maxSplits: 1)
    guard parts.count == 2, parts[0] == "https" || parts[0] == "http" else { return nil }
    isTLS = parts[0] == "https"
    let rest = parts[1]
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    let text = Array(rest[..<end].utf8)
    guard let authority = Authority(text.span) else { return nil }
    host = String(decoding: text[authority.host], as: UTF8.self)
    port = authority.port
    let path = rest[end...].prefix { $0 != "?" && $0 != "#" }
    self.path = path.hasPrefix("/") ? String(path) : "/" + path
    let mark = rest[end...].firstIndex(of: "?")
    query = mark.map { String(rest[rest.index(after: $0)...].prefix { $0 != "#" }) } ?? ""
  }
}

extension Configuration.Pool {
  /// How the strategy selects, in words.
  fileprivate func order(of carried: String) -> String {
    switch strategy {
    case .roundRobin: "in turn"
    case .weightedRoundRobin: "in turn, by weight"
    case .leastConnections: "the one with the fewest \(carried) for its weight"
    case .random: "at random, by weight"
    case .ipHash: "by the client's address, always the same one"
    case .maglev: "by the hash of \(hashKey), on every node the same one"
    case .powerOfTwo: "of two at random, the one with the fewer \(carried) for its weight"
    case .leastTime: "of two at random, the one that is expected to respond sooner"
    }
  }

  /// The option of `martlet explain` without which the backend isn't known.
  fileprivate var whatIsMissing: String {
    switch (strategy, hashKey) {
    case (.maglev, .header(let name)): "--header '\(name): VALUE'"
    case (.maglev, .cookie(let name)): "--header 'Cookie: \(name)=VALUE'"
    case (.maglev, .query(let name)): "a URL with ?\(name)=VALUE"
    case (.maglev, .fiveTuple): "--client ADDRESS:PORT"
    default: "--client ADDRESS"
    }
  }
}
