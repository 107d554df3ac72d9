// The access log of one worker: formats a line for each exchange that is logged (ordinary ones may
// be sampled) and passes it to the writer. Also the reports of the admin interface.
//
// A line is formatted in a buffer of the worker and copied into a ring, which the writer's thread
// empties. If the ring is full because the disk is slow or full, the line is dropped and counted;
// the worker doesn't wait.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

/// What a line can contain about an exchange besides its request.
struct AccessLogFacts {
  /// Whether there is a request: a head that couldn't be read has none.
  var hasRequest = true
  /// Connections of TCP listeners and sessions of UDP listeners have no status.
  var kind = Kind.http
  var client: IPAddress?
  /// The port of the connection; nil if the client is not its peer.
  var clientPort: UInt16?
  /// Who has connected, if a header of the PROXY protocol named the client.
  var proxy: IPAddress?
  /// Empty if none was selected.
  var route: LogName?
  var pool: LogName?
  var status: UInt16
  /// The result of a gRPC call; nil for other requests.
  var grpcStatus: UInt8?
  /// The name of the failure, and what was wrong with a malformed message.
  var failure: StaticString?
  var reason: StaticString?
  /// Errors that a strict listener would have refused.
  var tolerated = ToleratedReasons()
  /// Errors of the response that were tolerated.
  var toleratedInResponse = ToleratedReasons()
  var receivedByteCount: UInt64
  var sentByteCount: UInt64
  /// Of a session.
  var receivedDatagramCount: UInt64 = 0
  var sentDatagramCount: UInt64 = 0
  /// From the head of the request to the end of the response.
  var duration: TimeSpan
  /// The time to connect to the backend, for the last attempt; zero for a reused connection.
  var connectTime = TimeSpan.zero
  /// From the head of the request to the head of the response; nil if no backend responded.
  var firstByteTime: TimeSpan?
  /// The time in the queue of a full pool.
  var queueTime = TimeSpan.zero
  /// Why a retry was not made that the rules allow.
  var missedRetry: MissedRetry?
  var tls: TLSFacts?
  /// The number of exchanges that the line represents.
  var sample = 1

  enum Kind {
    case http, tcp, udp

    var name: StaticString {
      switch self {
      case .http: "http"
      case .tcp: "tcp"
      case .udp: "udp"
      }
    }

    /// In place of a method.
    var title: StaticString {
      switch self {
      case .http: "HTTP"
      case .tcp: "TCP"
      case .udp: "UDP"
      }
    }
  }
}

struct AccessLog: ~Copyable {
  enum Format: Sendable { case json, text, template, off }

  var settings: LogSettings
  private let producer: AccessLogWriter.Producer?
  // Internal for the extension that fills in templates.
  var line = ByteBuffer(capacity: 4096)
  /// The server name that the client sent in its handshake; empty if it sent none.
  var serverName = ByteBuffer(capacity: 256)
  /// An address without what must be hidden.
  private var redacted = ByteBuffer()
  var clock = LogClock()
  private let metrics: WorkerMetrics?
  /// How many ordinary exchanges are left out before the next line.
  private var skipCount = 0

  /// `metrics` counts the lines that were dropped.
  init(
    settings: LogSettings, producer: AccessLogWriter.Producer?, metrics: WorkerMetrics? = nil
  ) {
    self.settings = settings
    self.producer = producer
    self.metrics = metrics
  }

  var isOn: Bool { settings.format != .off && producer != nil }

  /// The number of exchanges that the line of this one represents; 0 if it has no line.
  mutating func weight(
    status: UInt16, failed: Bool, attempts: Int, duration: TimeSpan
  ) -> Int {
    let isOrdinary =
      status < 400 && !failed && attempts <= 1 && duration < settings.slow
    if !isOrdinary || settings.sample == 1 { return 1 }
    if settings.sample == 0 { return 0 }
    if skipCount > 0 {
      skipCount -= 1
      return 0
    }
    skipCount = settings.sample - 1
    return settings.sample
  }

  /// `names` are those of the backends, by id.
  mutating func write(
    _ facts: AccessLogFacts, listener: LogName, request: borrowing RequestHead,
    attempts: AttemptList, names: [LogName]
  ) {
    line.removeAll()
    switch settings.format {
    case .off: return
    case .template: writeTemplate(facts, listener, request, attempts, names)
    case .json: writeJSON(facts, listener, request, attempts, names)
    case .text: writeText(facts, listener, request, attempts, names)
    }
    line.append(0x0A)
    if producer?.append(line.bytes) != true { metrics?.add(.accessLogLinesDropped) }
  }

  /// The line of a JSON log, for the admin interface.
  mutating func json(
    _ facts: AccessLogFacts, listener: LogName, request: borrowing RequestHead,
    attempts: AttemptList, names: [LogName]
  ) -> [UInt8] {
    line.removeAll()
    writeJSON(facts, listener, request, attempts, names)
    return line.array(0..<line.count)
  }

  // MARK: JSON

  private mutating func writeJSON(
    _ facts: AccessLogFacts, _ listener: LogName, _ request: borrowing RequestHead,
    _ attempts: AttemptList, _ names: [LogName]
  ) {
    line.append("{\"time\":\"")
    clock.writeTime(SystemClock.wall(), to: &line)
    line.append("\",\"listener\":")
    line.append(listener.json.span)
    if let client = facts.client {
      line.append(",\"client\":\"")
      client.write(to: &line)
      line.append("\"")
    }
    if let port = facts.clientPort {
      line.append(",\"client_port\":")
      line.append(decimal: UInt64(port))
    }
    if let proxy = facts.proxy {
      line.append(",\"proxy\":\"")
      proxy.write(to: &line)
      line.append("\"")
    }
    if let route = facts.route {
      line.append(",\"route\":")
      line.append(route.json.span)
    }
    if let pool = facts.pool {
      line.append(",\"pool\":")
      line.append(pool.json.span)
    }
    if facts.hasRequest {
      if request.method == .other {
        appendString(",\"method\":", request.bytes(of: request.methodName))
      } else {
        line.append(",\"method\":\"")
        line.append(request.method.name)
        line.append("\"")
      }
      appendString(",\"host\":", request.bytes(of: request.authority))
      line.append(",\"target\":")
      appendAddress(request.bytes(of: request.target), as: .json)
      line.append(",\"version\":\"")
      line.append(request.version.number)
      line.append("\"")
      if let id = request.fields.first(.xRequestID) {
        appendString(",\"request_id\":", request.bytes(of: id))
      }
      if let id = request.fields.traceID {
        appendString(",\"trace_id\":", request.bytes(of: id))
      }
    }
    switch facts.kind {
    case .http:
      line.append(",\"status\":")
      line.append(decimal: UInt64(facts.status))
    case .tcp: line.append(",\"kind\":\"tcp\"")
    case .udp: line.append(",\"kind\":\"udp\"")
    }
    if let status = facts.grpcStatus {
      line.append(",\"grpc_status\":")
      line.append(decimal: UInt64(status))
    }
    if let failure = facts.failure {
      line.append(",\"failure\":\"")
      line.append(failure)
      line.append("\"")
    }
    if let reason = facts.reason {
      line.append(",\"reason\":\"")
      line.append(reason)
      line.append("\"")
    }
    appendList(",\"tolerated\":[", facts.tolerated, HTTP1Error.tolerable)
    appendList(
      ",\"response_tolerated\":[", facts.toleratedInResponse, HTTP1Error.tolerableInResponses)
    line.append(",\"received\":")
    line.append(decimal: facts.receivedByteCount)
    line.append(",\"sent\":")
    line.append(decimal: facts.sentByteCount)
    if facts.kind == .udp {
      line.append(",\"received_datagrams\":")
      line.append(decimal: facts.receivedDatagramCount)
      line.append(",\"sent_datagrams\":")
      line.append(decimal: facts.sentDatagramCount)
    }
    line.append(",\"ms\":")
    appendMilliseconds(facts.duration)
    if let time = facts.firstByteTime {
      line.append(",\"first_byte_ms\":")
      appendMilliseconds(time)
    }
    if facts.connectTime > .zero {
      line.append(",\"connect_ms\":")
      appendMilliseconds(facts.connectTime)
    }
    if facts.queueTime > .zero {
      line.append(",\"queued_ms\":")
      appendMilliseconds(facts.queueTime)
    }
    if facts.sample > 1 {
      line.append(",\"sample\":")
      line.append(decimal: UInt64(facts.sample))
    }
    if let missed = facts.missedRetry {
      line.append(",\"retry\":\"")
      line.append(missed.name)
      line.append("\"")
    }
    if let tls = facts.tls {
      line.append(",\"tls\":\"")
      line.append(tls.version)
      line.append("\",\"cipher\":\"")
      line.append(tls.suite.name)
      line.append(tls.isResumed ? "\",\"resumed\":true" : "\",\"resumed\":false")
    }
    if !serverName.isEmpty {
      line.append(",\"sni\":")
      line.appendJSONString(of: serverName)
    }
    if facts.hasRequest {
      if let agent = request.fields.first(.userAgent), !agent.isEmpty {
        appendString(",\"user_agent\":", request.bytes(of: agent))
      }
      if let referer = request.fields.first(.referer), !referer.isEmpty {
        line.append(",\"referer\":")
        appendAddress(request.bytes(of: referer), as: .json)
      }
    }
    line.append(",\"attempts\":[")
    for index in 0..<attempts.count {
      if index > 0 { line.append(0x2C) }
      let attempt = attempts[index]
      line.append("{\"backend\":")
      line.append(name(of: attempt, names).json.span)
      line.append(",\"result\":\"")
      line.append(attempt.result.name)
      line.append("\"")
      if attempt.status > 0 {
        line.append(",\"status\":")
        line.append(decimal: UInt64(attempt.status))
      }
      if case .failed(.grpcStatus(let code)) = attempt.result {
        line.append(",\"grpc_status\":")
        line.append(decimal: UInt64(code))
      }
      if let version = attempt.version {
        line.append(",\"protocol\":\"")
        line.append(version.name)
        line.append("\"")
      }
      if attempt.isFailOpen { line.append(",\"fail_open\":true") }
      line.append(attempt.isReused ? ",\"reused\":true,\"ms\":" : ",\"reused\":false,\"ms\":")
      appendMilliseconds(attempt.duration)
      line.append("}")
    }
    line.append("]}")
  }

  private mutating func appendList(
    _ key: StaticString, _ tolerated: ToleratedReasons, _ reasons: [HTTP1Error]
  ) {
    if tolerated.isEmpty { return }
    line.append(key)
    var separator: StaticString = "\""
    for reason in reasons where tolerated.contains(reason) {
      line.append(separator)
      line.append(reason.name)
      line.append("\"")
      separator = ",\""
    }
    line.append("]")
  }

  private mutating func appendString(_ key: StaticString, _ value: Span<UInt8>) {
    line.append(key)
    line.appendJSONString(value)
  }

  // MARK: Text

  /// `time client METHOD "host" "target" status sent ms failure [backend result ms, ...]`, then
  /// what is unusual. A connection has TCP as its method, the server name as its host, and its
  /// listener and pool as its target.
  private mutating func writeText(
    _ facts: AccessLogFacts, _ listener: LogName, _ request: borrowing RequestHead,
    _ attempts: AttemptList, _ names: [LogName]
  ) {
    clock.writeTime(SystemClock.wall(), to: &line)
    line.append(0x20)
    if let client = facts.client { client.write(to: &line) } else { line.append("-") }
    line.append(0x20)
    if facts.hasRequest {
      // Escaped as JSON, so that no byte from a client can break the line.
      line.append(request.bytes(of: request.methodName))
      line.append(0x20)
      line.appendJSONString(request.bytes(of: request.authority))
      line.append(0x20)
      appendAddress(request.bytes(of: request.target), as: .json)
    } else if facts.kind != .http {
      line.append(facts.kind.title)
      line.append(0x20)
      line.appendJSONString(of: serverName)
      line.append(0x20)
      line.append(listener.json.span)
      line.append(">")
      if let pool = facts.pool { line.append(pool.json.span) } else { line.append("-") }
    } else {
      line.append("- - -")
    }
    line.append(0x20)
    if facts.kind != .http { line.append("-") } else { line.append(decimal: UInt64(facts.status)) }
    line.append(0x20)
    line.append(decimal: facts.sentByteCount)
    line.append(0x20)
    appendMilliseconds(facts.duration)
    line.append("ms ")
    line.append(facts.failure ?? "ok")
    if let reason = facts.reason {
      line.append(0x3A)
      line.append(reason)
    }
    for reason in HTTP1Error.tolerable where facts.tolerated.contains(reason) {
      line.append(" tolerated:")
      line.append(reason.name)
    }
    for reason in HTTP1Error.tolerableInResponses
    where facts.toleratedInResponse.contains(reason) {
      line.append(" response-tolerated:")
      line.append(reason.name)
    }
    line.append(" [")
    for index in 0..<attempts.count {
      if index > 0 { line.append(", ") }
      let attempt = attempts[index]
      line.append(name(of: attempt, names).bytes.span)
      line.append(0x20)
      line.append(attempt.result.name)
      line.append(0x20)
      appendMilliseconds(attempt.duration)
      line.append(attempt.isFailOpen ? "ms fail-open" : "ms")
    }
    line.append(0x5D)
    if facts.kind != .http {
      line.append(" received ")
      line.append(decimal: facts.receivedByteCount)
    }
    if let status = facts.grpcStatus {
      line.append(" grpc ")
      line.append(decimal: UInt64(status))
    }
    if facts.queueTime > .zero {
      line.append(" queued ")
      appendMilliseconds(facts.queueTime)
      line.append("ms")
    }
    if let missed = facts.missedRetry {
      line.append(" ")
      line.append(missed.name)
    }
  }

  // MARK: Pieces

  /// How a value from a client is escaped.
  enum Escaping { case json, template }

  /// Appends a target or a referer, without the values of the query parameters to hide.
  mutating func appendAddress(_ address: Span<UInt8>, as escaping: Escaping) {
    if settings.hidden.isEmpty { return append(address, as: escaping) }
    redacted.removeAll()
    redacted.append(address, hiding: settings.hidden)
    switch escaping {
    case .json: line.appendJSONString(of: redacted)
    case .template: line.appendEscaped(of: redacted)
    }
  }

  private mutating func append(_ value: Span<UInt8>, as escaping: Escaping) {
    switch escaping {
    case .json: line.appendJSONString(value)
    case .template: line.appendEscaped(value)
    }
  }

  func name(of attempt: Attempt, _ names: [LogName]) -> LogName {
    attempt.backend >= 0 && attempt.backend < names.count ? names[attempt.backend] : .empty
  }

  mutating func appendMilliseconds(_ span: TimeSpan) {
    let microseconds = UInt64(max(0, span.microseconds))
    line.append(decimal: microseconds / 1000)
    line.append(0x2E)
    line.append(decimal: microseconds % 1000, digits: 3)
  }
}
