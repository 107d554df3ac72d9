// What the admin interface answers.

import Balancing
import Configuration
import HTTP
import Primitives

enum AdminAnswer {
  case whole(AdminDocument)
  /// The state now and then every second, as server-sent events, until the client goes.
  case stateEvents
  /// Every exchange from now on that passes the filter.
  case tap(TapFilter)
  /// The control thread answers.
  case command(AdminCommand)
}

struct AdminDocument: Sendable {
  var status: UInt16 = 200
  var contentType = "application/json"
  /// Further fields of the head.
  var fields: [(name: KnownField, value: String)] = []
  var body: [UInt8]

  init(status: UInt16 = 200, _ contentType: String, _ body: [UInt8]) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  init(status: UInt16 = 200, json write: (inout JSONWriter) -> Void) {
    var writer = JSONWriter()
    writer.object(write)
    self.init(status: status, "application/json", writer.bytes)
  }

  static func error(_ status: UInt16, _ message: String) -> AdminDocument {
    AdminDocument(status: status) { $0.member("error", message) }
  }

  /// Without a token, or with a wrong one (RFC 9110 15.5.2).
  static var unauthorized: AdminDocument {
    var document = error(401, "show the token: Authorization: Bearer ...")
    document.fields = [(.wwwAuthenticate, "Bearer realm=\"martlet\"")]
    return document
  }

  /// RFC 9110 15.5.6 asks for the methods that there are.
  static func notAllowed(_ method: String, allowed: [String]) -> AdminDocument {
    var document = error(405, "not with \(method)")
    document.fields = [(.allow, allowed.joined(separator: ", "))]
    return document
  }

  static var tooManyStreams: AdminDocument {
    var document = error(503, "there are as many streams as there may be")
    document.fields = [(.retryAfter, "10")]
    return document
  }
}

/// What only the control thread can do.
enum AdminCommand: Sendable {
  case reload
  /// Say what a reload from a file with this text would change.
  case diff(text: [UInt8])
  /// Nil for the configured one.
  case setLogLevel(Configuration.Log.Level?)
  case changeBackend(pool: String, address: String, BackendChange)
  case addBackend(pool: String, address: String, weight: Int)
  case removeBackend(pool: String, address: String, isForced: Bool)

  struct BackendChange: Sendable {
    var state: AdminState?
    var weight: WeightChange?
    /// Even if no backend of the pool is available after this.
    var isForced = false
  }

  enum WeightChange: Sendable {
    case set(Int)
    case configured
  }
}

/// Which exchanges somebody wants to see.
struct TapFilter: Sendable {
  /// The least status: 0 for all, 400 for errors.
  var statusMin = 0
  /// Nobody's whose target doesn't contain it.
  var text = ""

  /// Looks into the line as it stands, which is JSON of our own with the members in a fixed order.
  func passes(_ line: [UInt8]) -> Bool {
    if statusMin == 0 && text.isEmpty { return true }
    let line = String(decoding: line, as: UTF8.self)
    if !text.isEmpty && !line.contains(text) { return false }
    if statusMin == 0 { return true }
    guard let mark = line.firstRange(of: "\"status\":") else { return false }
    return (Int(line[mark.upperBound...].prefix { $0.isNumber }) ?? 0) >= statusMin
  }
}
