// The access log as a worker sees it: one line per exchange, put together and handed to the writer.
//
// A line is formatted in a buffer of the worker's own and copied into a ring that the writer's
// thread empties. When the ring is full, because the disk is slow or full, the line is dropped and
// counted; nobody waits.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

/// What a line can say of an exchange beside what stands in its request.
struct AccessLogFacts {
  var client: IPAddress?
  /// The port of the connection; nil if the client is not its peer.
  var clientPort: UInt16?
  /// Empty if none was selected.
  var route: LogName?
  var pool: LogName?
  var status: UInt16
  /// The failure's name, and for a malformed head what was wrong with it.
  var failure: StaticString?
  var reason: StaticString?
  /// What a strict listener would have refused.
  var tolerated = ToleratedReasons()
  /// What the response was forgiven.
  var toleratedInResponse = ToleratedReasons()
  var receivedByteCount: UInt64
  var sentByteCount: UInt64
  /// From the head of the request to the end of the response.
  var duration: TimeSpan
  /// The time to connect to the backend, for the last attempt; zero for a reused connection.
  var connectTime = TimeSpan.zero
  /// From the head of the request to that of the response; nil without a response from a backend.
  var firstByteTime: TimeSpan?
  /// How long it waited for a place at a full pool.
  var queueTime = TimeSpan.zero
  /// It would have been tried again, had the retry budget not been spent.
  var wasBudgetSpent = false
  var tls: TLSFacts?
  /// For how many exchanges like it the line stands.
  var sample = 1
}

struct AccessLog: ~Copyable {
  enum Format: Sendable { case json, text, template, off }

  var settings: LogSettings
  private let producer: AccessLogWriter.Producer?
  // Internal for the extension that fills in templates.
  var line = ByteBuffer(capacity: 4096)
  /// The server name that the client sent in its handshake; empty if it sent none.
  var serverName = ByteBuffer(capacity: 256)
  var clock = LogClock()
  private let metrics: WorkerMetrics?
  /// How many ordinary exchanges have no line yet until one has.
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

  /// For how many exchanges the line of one like this stands; 0 if it has none.
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

  /// `text` holds what `summary` points into; `names` gives the backends of the attempts by id.
  mutating func write(
    _ facts: AccessLogFacts, listener: LogName, summary: RequestSummary?,
    text: borrowing ByteBuffer, attempts: AttemptList, names: [LogName]
  ) {
    line.removeAll()
    switch settings.format {
    case .off: return
    case .template: writeTemplate(facts, listener, summary, text.bytes, attempts, names)
    case .json: writeJSON(facts, listener, summary, text.bytes, attempts, names)
    case .text: writeText(facts, summary, text.bytes, attempts, names)
    }
    line.append(0x0A)
    if producer?.append(line.bytes) != true { metrics?.add(.accessLogLinesDropped) }
  }

  /// The line that a JSON log has, for somebody who looks on.
  mutating func json(
    _ facts: AccessLogFacts, listener: LogName, summary: RequestSummary?,
    text: borrowing ByteBuffer, attempts: AttemptList, names: [LogName]
  ) -> [UInt8] {
    line.removeAll()
    writeJSON(facts, listener, summary, text.bytes, attempts, names)
    return line.array(0..<line.count)
  }

  // MARK: JSON

  private mutating func writeJSON(
    _ facts: AccessLogFacts, _ listener: LogName, _ summary: RequestSummary?, _ text: Span<UInt8>,
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
    if let route = facts.route {
      line.append(",\"route\":")
      line.append(route.json.span)
    }
    if let pool = facts.pool {
      line.append(",\"pool\":")
      line.append(pool.json.span)
    }
    if let summary {
      if summary.method == .other {
        appendString(",\"method\":", text.extracting(summary.methodName.range))
      } else {
        line.append(",\"method\":\"")
        line.append(summary.method.name)
        line.append("\"")
      }
      appendString(",\"host\":", text.extracting(summary.host.range))
      appendString(",\"target\":", text.extracting(summary.target.range))
      line.append(summary.version == .http10 ? ",\"version\":\"1.0\"" : ",\"version\":\"1.1\"")
      if !summary.requestID.isEmpty {
        appendString(",\"request_id\":", text.extracting(summary.requestID.range))
      }
      if !summary.traceID.isEmpty {
        appendString(",\"trace_id\":", text.extracting(summary.traceID.range))
      }
    }
    line.append(",\"status\":")
    line.append(decimal: UInt64(facts.status))
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
    if facts.wasBudgetSpent { line.append(",\"retry\":\"budget-spent\"") }
    if let tls = facts.tls {
      line.append(",\"tls\":\"")
      line.append(tls.version)
      line.append("\",\"cipher\":\"")
      line.append(tls.suite.name)
      line.append(tls.isResumed ? "\",\"resumed\":true" : "\",\"resumed\":false")
      if !serverName.isEmpty {
        line.append(",\"sni\":")
        line.appendJSONString(of: serverName)
      }
    }
    if let summary, !summary.userAgent.isEmpty {
      appendString(",\"user_agent\":", text.extracting(summary.userAgent.range))
    }
    if let summary, !summary.referer.isEmpty {
      appendString(",\"referer\":", text.extracting(summary.referer.range))
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

  /// `time client "METHOD host target" status sent ms failure [backend result ms, ...]`, and what
  /// is out of the ordinary
  private mutating func writeText(
    _ facts: AccessLogFacts, _ summary: RequestSummary?, _ text: Span<UInt8>,
    _ attempts: AttemptList, _ names: [LogName]
  ) {
    clock.writeTime(SystemClock.wall(), to: &line)
    line.append(0x20)
    if let client = facts.client { client.write(to: &line) } else { line.append("-") }
    line.append(0x20)
    if let summary {
      // Escaped as JSON, so that no byte of a client's can break the line.
      line.append(text.extracting(summary.methodName.range))
      line.append(0x20)
      line.appendJSONString(text.extracting(summary.host.range))
      line.append(0x20)
      line.appendJSONString(text.extracting(summary.target.range))
    } else {
      line.append("- - -")
    }
    line.append(0x20)
    line.append(decimal: UInt64(facts.status))
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
    if facts.queueTime > .zero {
      line.append(" queued ")
      appendMilliseconds(facts.queueTime)
      line.append("ms")
    }
    if facts.wasBudgetSpent { line.append(" budget-spent") }
  }

  // MARK: Pieces

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
