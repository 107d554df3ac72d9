// A span as OTLP has it in JSON (opentelemetry-proto, trace.proto), with the attributes that the
// semantic conventions of OpenTelemetry give to HTTP.

import Balancing
import HTTP
import Primitives
import Proxy

/// What a span says about an exchange besides its request.
struct SpanFacts {
  /// The path of the route as configured.
  let route: [UInt8]
  let isTLS: Bool
  let client: IPAddress?
  let status: UInt16
  let failure: StaticString?
  /// Whether it is a call of gRPC, and its status.
  let isCall: Bool
  let grpcStatus: UInt8?
}

struct SpanText: ~Copyable {
  enum Kind {
    case server, client

    /// SPAN_KIND_SERVER and SPAN_KIND_CLIENT.
    fileprivate var number: StaticString { self == .server ? "2" : "3" }
  }

  /// One span a line. It has no storage until the first one.
  private var text = ByteBuffer()
  private var needsComma = false
  /// A target without what must be hidden.
  private var redacted = ByteBuffer()

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

  /// Appends the span of an exchange. Addresses are without the values of `hidden` parameters.
  mutating func append(
    _ request: borrowing RequestHead, _ trace: TraceContext, _ facts: SpanFacts,
    hiding hidden: [[UInt8]], from start: UInt64, to finish: UInt64
  ) {
    begin(
      trace, span: trace.span, parent: trace.parent, .server,
      name: request.method.spanName.bytes, route: facts.route.span, from: start, to: finish)
    attribute("http.request.method", request.method.semanticName)
    if request.method == .other {
      attribute("http.request.method_original", request.bytes(of: request.methodName))
    }
    redacted.removeAll()
    redacted.append(request.bytes(of: request.target), hiding: hidden)
    appendTarget()
    attribute("url.scheme", facts.isTLS ? "https" : "http")
    attribute("http.route", facts.route.span)
    attribute("server.address", request.bytes(of: request.authority))
    if let client = facts.client { attribute("client.address", client) }
    if let agent = request.fields.first(.userAgent) {
      attribute("user_agent.original", request.bytes(of: agent))
    }
    attribute("network.protocol.version", request.version.number)
    if facts.status > 0 { attribute("http.response.status_code", UInt64(facts.status)) }
    if let failure = facts.failure { attribute("error.type", failure) }
    if let id = request.fields.first(.xRequestID) {
      attribute("martlet.request_id", request.bytes(of: id))
    }
    if facts.isCall { appendCall(request, facts.grpcStatus) }
    let callFailed = facts.grpcStatus.map(GRPCStatus.isServerError) ?? false
    end(failed: facts.status >= 500 || facts.status == 0 || callFailed)
  }

  /// By the semantic conventions for gRPC.
  private mutating func appendCall(_ request: borrowing RequestHead, _ status: UInt8?) {
    attribute("rpc.system", "grpc")
    let path = request.bytes(of: request.path)
    if let method = GRPCMethod(path: path) {
      attribute("rpc.service", path.extracting(method.service))
      attribute("rpc.method", path.extracting(method.method))
    }
    if let status { attribute("rpc.grpc.status_code", UInt64(status)) }
  }

  private mutating func appendTarget() {
    var target = ByteBuffer()
    swap(&target, &redacted)
    let mark = target.bytes.firstIndex(of: 0x3F, in: 0..<target.count)
    attribute("url.path", target.bytes.extracting(0..<mark))
    if mark < target.count {
      attribute("url.query", target.bytes.extracting((mark + 1)..<target.count))
    }
    swap(&target, &redacted)
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
