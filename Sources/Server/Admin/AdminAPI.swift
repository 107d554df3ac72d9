// What each path of the admin interface means. docs/openapi.json describes the same for programs,
// and a test holds the two to one another.

import Balancing
import Configuration
import HTTP
import Metrics
import Primitives

/// What a client may do, by the socket that it came through and the token that it showed.
enum AdminRight: Sendable {
  case nothing, look, change
}

struct AdminAPI {
  let view: AdminView
  let history: History
  let now: Instant

  func answer(_ request: AdminRequest, right: AdminRight) -> AdminAnswer {
    // The page itself holds nothing; what it shows it asks for with the token.
    if request.path.isEmpty && request.isReading {
      return .whole(AdminDocument("text/html; charset=utf-8", Dashboard.page))
    }
    switch request.path {
    case ["healthz"]: return text("ok\n")
    case ["readyz"]: return view.isDraining ? .error(503, "draining") : text("ready\n")
    default: break
    }
    if right == .nothing { return refusal(request) }
    guard let methods = allowedMethods(request.path) else { return .error(404, "no such path") }
    if !methods.contains(request.method) {
      return .whole(.notAllowed(request.method, allowed: methods))
    }
    return request.isReading ? look(request) : change(request, right)
  }

  /// Why who may do nothing may do nothing.
  private func refusal(_ request: AdminRequest) -> AdminAnswer {
    if view.credentials.token != nil { return .whole(.unauthorized) }
    return .error(
      403, "without a token this address is for this machine: ask by localhost or 127.0.0.1")
  }

  // MARK: Looking

  private func look(_ request: AdminRequest) -> AdminAnswer {
    switch request.path {
    case ["metrics"]: return metrics(request)
    case ["v1", "state"]: return .whole(AdminDocument { report().write(to: &$0) })
    case ["v1", "status"]:
      let status = StatusText(view: view, history: history, now: now)
      return .whole(AdminDocument("text/plain; charset=utf-8", status.write()))
    case ["v1", "history"]: return .whole(AdminDocument { HistoryReport(history).write(to: &$0) })
    case ["v1", "events"]: return .stateEvents
    case ["v1", "exchanges"]: return .whole(notableExchanges())
    case ["v1", "tap"]:
      var filter = TapFilter()
      filter.statusMin = request.query["status"].flatMap { Int($0) } ?? 0
      filter.text = request.query["text"] ?? ""
      return .tap(filter)
    case ["v1", "log-level"]: return .whole(AdminDocument { report().writeLogLevel(to: &$0) })
    case ["v1", "explain"]:
      return .whole(Explanation(view: view, now: now).explain(request.query))
    default: return .error(404, "no such path")
    }
  }

  private func report() -> StateReport { StateReport(view: view, history: history, now: now) }

  private func metrics(_ request: AdminRequest) -> AdminAnswer {
    let bytes = MetricsReport(view: view, now: now).write(request.metricsFormat)
    return .whole(AdminDocument(request.metricsFormat.contentType, bytes))
  }

  /// The last that failed or were slow, the newest first; they are JSON already.
  private func notableExchanges() -> AdminDocument {
    let lines = view.process.reports.flatMap(\.notable)
    // They begin with the time, so their order is that of their text.
    let sorted = lines.sorted { $1.lexicographicallyPrecedes($0) }
    var body = Array("{\"exchanges\":[".utf8)
    for (index, line) in sorted.prefix(100).enumerated() {
      if index > 0 { body.append(0x2C) }
      body += line
    }
    body += Array("]}".utf8)
    return AdminDocument("application/json", body)
  }

  // MARK: Changing

  private func change(_ request: AdminRequest, _ right: AdminRight) -> AdminAnswer {
    if right != .change { return .error(403, "this socket only shows; use the Unix socket") }
    switch (request.method, request.path) {
    case ("POST", ["v1", "reload"]): return .command(.reload)
    case ("POST", ["v1", "diff"]): return .command(.diff(text: request.body))
    case ("PUT", ["v1", "log-level"]): return setLogLevel(request)
    case ("POST", let path) where path.count == 4 && path[3] == "backends":
      return addBackend(to: path[2], request)
    case ("PATCH", let path) where path.count == 5: return patch(path[2], path[4], request)
    case ("DELETE", let path) where path.count == 5:
      let isForced = request.query["force"] == "true"
      // A name that is configured may have no address, so the control thread looks for it.
      return .command(.removeBackend(pool: path[2], address: path[4], isForced: isForced))
    default: return .error(404, "no such path")
    }
  }

  /// Nil where there is nothing.
  private func allowedMethods(_ path: [String]) -> [String]? {
    if path.isEmpty || path == ["metrics"] { return ["GET", "HEAD"] }
    guard path.count > 1, path[0] == "v1" else { return nil }
    switch (path[1], path.count) {
    case ("state", 2), ("status", 2), ("history", 2), ("events", 2), ("exchanges", 2), ("tap", 2),
      ("explain", 2):
      return ["GET", "HEAD"]
    case ("reload", 2), ("diff", 2): return ["POST"]
    case ("log-level", 2): return ["GET", "HEAD", "PUT"]
    case ("pools", 4) where path[3] == "backends": return ["POST"]
    case ("pools", 5) where path[3] == "backends": return ["DELETE", "PATCH"]
    default: return nil
    }
  }

  /// Nil when the backend is there.
  private func find(_ pool: String, _ address: String) -> AdminAnswer? {
    guard let found = view.pool(named: pool) else {
      return .error(404, view.configuration.pools.missing(pool))
    }
    let members = found.settings.pool.membership.members
    if members.contains(where: { $0.record.identity.address == address }) { return nil }
    let known = members.prefix(10).map(\.record.identity.address).joined(separator: ", ")
    return .error(404, "no backend \(address) in \(pool); there are \(known)")
  }

  private func patch(_ pool: String, _ address: String, _ request: AdminRequest) -> AdminAnswer {
    if let missing = find(pool, address) { return missing }
    guard let members = Configuration.simpleMembers(ofJSON: request.body) else {
      return .error(400, "the body must be a JSON object, such as {\"state\": \"draining\"}")
    }
    var change = AdminCommand.BackendChange()
    for (name, value) in members {
      switch (name, value) {
      case ("state", .text("enabled")): change.state = .enabled
      case ("state", .text("draining")): change.state = .draining
      case ("state", .text("disabled")): change.state = .disabled
      case ("state", _): return .error(400, "state is enabled, draining or disabled")
      case ("weight", .null): change.weight = .configured
      case ("weight", .number(let number)) where Member.weightRange.contains(number):
        change.weight = .set(number)
      case ("weight", _):
        return .error(400, "weight is a whole number from 1 to 256, or null for the configured one")
      case ("force", .flag(let isForced)): change.isForced = isForced
      default: return .error(400, "unknown member \(name); there are state, weight and force")
      }
    }
    if change.state == nil && change.weight == nil { return .error(400, "give state or weight") }
    return .command(.changeBackend(pool: pool, address: address, change))
  }

  private func setLogLevel(_ request: AdminRequest) -> AdminAnswer {
    let levels = Configuration.Log.Level.allCases.map(\.rawValue).joined(separator: ", ")
    switch Configuration.simpleMembers(ofJSON: request.body).map({ ($0.count, $0.first) }) {
    case (1, ("level", .null)?)?: return .command(.setLogLevel(nil))
    case (1, ("level", .text(let text))?)?:
      if let level = Configuration.Log.Level(rawValue: text) {
        return .command(.setLogLevel(level))
      }
    default: break
    }
    return .error(400, "give level: one of \(levels), or null for the configured one")
  }

  private func addBackend(to pool: String, _ request: AdminRequest) -> AdminAnswer {
    guard view.pool(named: pool) != nil else {
      return .error(404, view.configuration.pools.missing(pool))
    }
    guard let members = Configuration.simpleMembers(ofJSON: request.body) else {
      return .error(400, "the body must be a JSON object, such as {\"address\": \"10.0.0.1:80\"}")
    }
    var address: String?
    var weight = 1
    for (name, value) in members {
      switch (name, value) {
      case ("address", .text(let text)): address = text
      case ("weight", .number(let number)) where Member.weightRange.contains(number):
        weight = number
      default: return .error(400, "give address, and perhaps weight from 1 to 256")
      }
    }
    guard let address else { return .error(400, "address is missing") }
    return .command(.addBackend(pool: pool, address: address, weight: weight))
  }

  private func text(_ text: String) -> AdminAnswer {
    .whole(AdminDocument("text/plain; charset=utf-8", Array(text.utf8)))
  }
}

extension AdminAnswer {
  static func error(_ status: UInt16, _ message: String) -> AdminAnswer {
    .whole(.error(status, message))
  }
}

extension AdminRequest {
  var isReading: Bool { method == "GET" || method == "HEAD" }
}
