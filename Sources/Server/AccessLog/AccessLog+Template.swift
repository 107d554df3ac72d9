// Log lines in the operator's own format; `combined` is one of them.
//
// Values from clients are escaped as in nginx: quotes, backslashes and everything that isn't
// printable ASCII become \xHH, so that programs for nginx's logs can read these. Unknown values are
// `-`.

import Configuration
import HTTP
import Primitives
import Proxy
import Reactor
import TLS

extension AccessLog {
  mutating func writeTemplate(
    _ facts: AccessLogFacts, _ listener: LogName, _ request: borrowing RequestHead,
    _ attempts: AttemptList, _ names: [LogName]
  ) {
    for index in 0..<settings.template.parts.count {
      let part = settings.template.parts[index]
      guard let field = part.field else {
        for position in part.text { line.append(settings.template.texts[position]) }
        continue
      }
      let start = line.count
      append(field, facts, listener, request, attempts, names)
      if line.count == start { line.append(0x2D) }
    }
  }

  /// Appends nothing for an unknown value.
  private mutating func append(
    _ field: Configuration.LogTemplate.Field, _ facts: AccessLogFacts, _ listener: LogName,
    _ request: borrowing RequestHead, _ attempts: AttemptList, _ names: [LogName]
  ) {
    switch field {
    case .time: clock.writeTime(SystemClock.wall(), to: &line)
    case .timeLocal: clock.writeLocalTime(SystemClock.wall(), to: &line)
    case .listener: line.appendEscaped(listener.bytes.span)
    case .client: facts.client?.write(to: &line)
    case .clientPort: if let port = facts.clientPort { line.append(decimal: UInt64(port)) }
    case .proxy: facts.proxy?.write(to: &line)
    case .route: if let route = facts.route { line.appendEscaped(route.bytes.span) }
    case .pool: if let pool = facts.pool { line.appendEscaped(pool.bytes.span) }
    case .sni: line.appendEscaped(of: serverName)
    case .kind: if facts.kind != .http { line.append(facts.kind.name) }
    case .method, .host, .target, .version, .request, .userAgent, .referer, .requestID, .traceID:
      if facts.hasRequest {
        append(field, of: request)
      } else if facts.kind != .http {
        append(field, of: facts, listener)
      }
    case .status: if facts.kind == .http { line.append(decimal: UInt64(facts.status)) }
    case .failure: if let failure = facts.failure { line.append(failure) }
    case .grpcStatus: if let status = facts.grpcStatus { line.append(decimal: UInt64(status)) }
    case .retry: if let missed = facts.missedRetry { line.append(missed.name) }
    case .reason: if let reason = facts.reason { line.append(reason) }
    case .received: line.append(decimal: facts.receivedByteCount)
    case .sent: line.append(decimal: facts.sentByteCount)
    case .ms: appendMilliseconds(facts.duration)
    case .connect: if facts.connectTime > .zero { appendMilliseconds(facts.connectTime) }
    case .firstByte: if let time = facts.firstByteTime { appendMilliseconds(time) }
    case .queued: appendMilliseconds(facts.queueTime)
    case .tls: if let tls = facts.tls { line.append(tls.version) }
    case .cipher: if let tls = facts.tls { line.append(tls.suite.name) }
    case .resumed: if let tls = facts.tls { line.append(tls.isResumed ? "true" : "false") }
    case .backend:
      if let last = attempts.last { line.appendEscaped(name(of: last, names).bytes.span) }
    case .attempts: line.append(decimal: UInt64(attempts.count))
    case .sample: line.append(decimal: UInt64(facts.sample))
    }
  }

  /// Appends a field that comes from the request.
  private mutating func append(
    _ field: Configuration.LogTemplate.Field, of request: borrowing RequestHead
  ) {
    switch field {
    case .method: line.appendEscaped(request.bytes(of: request.methodName))
    case .host: line.appendEscaped(request.bytes(of: request.authority))
    case .target: appendAddress(request.bytes(of: request.target), as: .template)
    case .version: line.append(request.version.number)
    case .request:
      line.appendEscaped(request.bytes(of: request.methodName))
      line.append(0x20)
      appendAddress(request.bytes(of: request.target), as: .template)
      line.append(0x20)
      line.append(request.version.name)
    case .userAgent: append(request.fields.first(.userAgent), of: request)
    case .referer:
      if let referer = request.fields.first(.referer) {
        appendAddress(request.bytes(of: referer), as: .template)
      }
    case .requestID: append(request.fields.first(.xRequestID), of: request)
    case .traceID: append(request.fields.traceID, of: request)
    default: break
    }
  }

  /// The same of a connection or a session, which has no request: what comes nearest.
  private mutating func append(
    _ field: Configuration.LogTemplate.Field, of facts: AccessLogFacts, _ listener: LogName
  ) {
    switch field {
    case .method: line.append(facts.kind.title)
    case .host: line.appendEscaped(of: serverName)
    case .target:
      line.appendEscaped(listener.bytes.span)
      line.append(">")
      if let pool = facts.pool { line.appendEscaped(pool.bytes.span) } else { line.append("-") }
    case .request:
      append(.method, of: facts, listener)
      line.append(0x20)
      append(.target, of: facts, listener)
      line.append(0x20)
      line.append(facts.failure ?? "ok")
    default: break
    }
  }

  private mutating func append(_ slice: Slice?, of request: borrowing RequestHead) {
    if let slice { line.appendEscaped(request.bytes(of: slice)) }
  }
}

extension ByteBuffer {
  mutating func appendEscaped(of text: borrowing ByteBuffer) {
    appendEscaped(text.bytes)
  }

  /// Appends bytes, escaped as in nginx's log.
  mutating func appendEscaped(_ bytes: Span<UInt8>) {
    for index in bytes.indices {
      let byte = bytes[index]
      if byte >= 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x5C {
        append(byte)
      } else {
        append("\\x")
        append(Self.digit(byte >> 4))
        append(Self.digit(byte & 0xF))
      }
    }
  }

  private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x37 + value }
}
