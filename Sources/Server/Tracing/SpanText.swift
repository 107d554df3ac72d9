// A span as OTLP has it in JSON (opentelemetry-proto, trace.proto), with the attributes that the
// semantic conventions of OpenTelemetry give to HTTP.

import Balancing
import HTTP
import Primitives
import Proxy

struct SpanText: ~Copyable {
  enum Kind {
    case server, client

    /// SPAN_KIND_SERVER and SPAN_KIND_CLIENT.
    fileprivate var number: StaticString { self == .server ? "2" : "3" }
  }

  /// One span a line. It has no storage until the first one.
  private var text = ByteBuffer()
  private var needsComma = false

  var bytes: Span<UInt8> {
    @_lifetime(borrow self)
    get { text.bytes }
  }

  mutating func removeAll() { text.removeAll() }

  /// Begins a span; its attributes follow. Times are in Unix nanoseconds.
  mutating func begin(
    _ trace: TraceContext, span: UInt64, parent: UInt64, _ kind: Kind, name: Span<UInt8>,
    route: Span<UInt8>, from start: UInt64, to end: UInt64
  ) {
    text.append("{\"traceId\":\"")
    text.append(digits: trace.high)
    text.append(digits: trace.low)
    text.append("\",\"spanId\":\"")
    text.append(digits: span)
    if parent != 0 {
      text.append("\",\"parentSpanId\":\"")
      text.append(digits: parent)
    }
    text.append("\",\"name\":\"")
    // Methods are tokens and routes paths: neither has anything to escape.
    text.append(name)
    if !route.isEmpty {
      text.append(" ")
      text.append(route)
    }
    text.append("\",\"kind\":")
    text.append(kind.number)
    text.append(",\"startTimeUnixNano\":\"")
    text.append(decimal: start)
    text.append("\",\"endTimeUnixNano\":\"")
    text.append(decimal: end)
    text.append("\",\"attributes\":[")
    needsComma = false
  }

  mutating func attribute(_ key: StaticString, _ value: Span<UInt8>) {
    if value.isEmpty { return }
    beginAttribute(key)
    text.append("\"stringValue\":")
    text.appendJSONString(value)
    text.append("}}")
  }

  mutating func attribute(_ key: StaticString, _ value: StaticString) {
    attribute(key, value.bytes)
  }

  mutating func attribute(_ key: StaticString, _ value: UInt64) {
    beginAttribute(key)
    // Numbers of 64 bits are text in the JSON of protocol buffers.
    text.append("\"intValue\":\"")
    text.append(decimal: value)
    text.append("\"}}")
  }

  mutating func attribute(_ key: StaticString, _ value: IPAddress) {
    beginAttribute(key)
    text.append("\"stringValue\":\"")
    value.write(to: &text)
    text.append("\"}}")
  }

  private mutating func beginAttribute(_ key: StaticString) {
    if needsComma { text.append(",") }
    needsComma = true
    text.append("{\"key\":\"")
    text.append(key)
    text.append("\",\"value\":{")
  }

  mutating func end(failed: Bool) {
    // STATUS_CODE_ERROR; otherwise it is left unset, as HTTP's conventions have it.
    text.append(failed ? "],\"status\":{\"code\":2}}\n" : "]}\n")
  }

  /// Appends the span of an exchange. `text` holds what `summary` points into.
  mutating func append(
    _ summary: RequestSummary, _ text: borrowing ByteBuffer, _ trace: TraceContext,
    route: [UInt8], isTLS: Bool, status: UInt16, failure: StaticString?, from start: UInt64,
    to finish: UInt64
  ) {
    begin(
      trace, span: trace.span, parent: trace.parent, .server,
      name: summary.method.spanName.bytes, route: route.span, from: start, to: finish)
    attribute("http.request.method", summary.method.semanticName)
    if summary.method == .other {
      attribute("http.request.method_original", text.bytes.extracting(summary.methodName.range))
    }
    let target = text.bytes.extracting(summary.target.range)
    let mark = target.firstIndex(of: 0x3F, in: 0..<target.count)
    attribute("url.path", target.extracting(0..<mark))
    if mark < target.count {
      attribute("url.query", target.extracting((mark + 1)..<target.count))
    }
    attribute("url.scheme", isTLS ? "https" : "http")
    attribute("http.route", route.span)
    attribute("server.address", text.bytes.extracting(summary.host.range))
    if let client = summary.client { attribute("client.address", client) }
    attribute("user_agent.original", text.bytes.extracting(summary.userAgent.range))
    attribute("network.protocol.version", summary.version == .http10 ? "1.0" : "1.1")
    if status > 0 { attribute("http.response.status_code", UInt64(status)) }
    if let failure { attribute("error.type", failure) }
    attribute("martlet.request_id", text.bytes.extracting(summary.requestID.range))
    end(failed: status >= 500 || status == 0)
  }

  /// The body of a request to a collector with these spans.
  static func envelope(_ spans: ArraySlice<UInt8>, service: String, version: String) -> [UInt8] {
    var head = ByteBuffer()
    head.append("{\"resourceSpans\":[{\"resource\":{\"attributes\":[")
    head.append("{\"key\":\"service.name\",\"value\":{\"stringValue\":")
    head.appendJSONString(Array(service.utf8).span)
    head.append("}}]},\"scopeSpans\":[{\"scope\":{\"name\":\"martlet\",\"version\":")
    head.appendJSONString(Array(version.utf8).span)
    head.append("},\"spans\":[")
    return head.array(0..<head.count) + spans + Array("]}]}]}".utf8)
  }
}

extension Method {
  /// Any method may come, so those that aren't known are one.
  var semanticName: StaticString { self == .other ? "_OTHER" : name }
  var spanName: StaticString { self == .other ? "HTTP" : name }
}
