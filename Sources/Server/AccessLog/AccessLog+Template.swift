// Lines in a format that the operator has put together, `combined` among them.
//
// What a client sent is escaped as nginx does it: quotes, backslashes and whatever isn't printable
// ASCII become \xHH, so that programs which read nginx's logs read these. What isn't known is `-`.

import Configuration
import HTTP
import Primitives
import Proxy
import Reactor
import TLS

extension AccessLog {
  mutating func writeTemplate(
    _ facts: AccessLogFacts, _ listener: LogName, _ summary: RequestSummary?, _ text: Span<UInt8>,
    _ attempts: AttemptList, _ names: [LogName]
  ) {
    for index in 0..<settings.template.parts.count {
      let part = settings.template.parts[index]
      guard let field = part.field else {
        for position in part.text { line.append(settings.template.texts[position]) }
        continue
      }
      let start = line.count
      append(field, facts, listener, summary, text, attempts, names)
      if line.count == start { line.append(0x2D) }
    }
  }

  /// Appends nothing for what isn't known.
  private mutating func append(
    _ field: Configuration.LogTemplate.Field, _ facts: AccessLogFacts, _ listener: LogName,
    _ summary: RequestSummary?, _ text: Span<UInt8>, _ attempts: AttemptList, _ names: [LogName]
  ) {
    switch field {
    case .time: clock.writeTime(SystemClock.wall(), to: &line)
    case .timeLocal: clock.writeLocalTime(SystemClock.wall(), to: &line)
    case .listener: line.appendEscaped(listener.bytes.span)
    case .client: facts.client?.write(to: &line)
    case .clientPort: if let port = facts.clientPort { line.append(decimal: UInt64(port)) }
    case .route: if let route = facts.route { line.appendEscaped(route.bytes.span) }
    case .pool: if let pool = facts.pool { line.appendEscaped(pool.bytes.span) }
    case .sni: if facts.tls != nil { line.appendEscaped(of: serverName) }
    case .method: append(summary?.methodName, text)
    case .host: append(summary?.host, text)
    case .target: append(summary?.target, text)
    case .version: if let summary { line.append(summary.version == .http10 ? "1.0" : "1.1") }
    case .request:
      guard let summary else { return }
      append(summary.methodName, text)
      line.append(0x20)
      append(summary.target, text)
      line.append(summary.version == .http10 ? " HTTP/1.0" : " HTTP/1.1")
    case .status: line.append(decimal: UInt64(facts.status))
    case .failure: if let failure = facts.failure { line.append(failure) }
    case .reason: if let reason = facts.reason { line.append(reason) }
    case .received: line.append(decimal: facts.receivedByteCount)
    case .sent: line.append(decimal: facts.sentByteCount)
    case .ms: appendMilliseconds(facts.duration)
    case .connect: if facts.connectTime > .zero { appendMilliseconds(facts.connectTime) }
    case .firstByte: if let time = facts.firstByteTime { appendMilliseconds(time) }
    case .queued: appendMilliseconds(facts.queueTime)
    case .tls: if let tls = facts.tls { line.append(tls.version) }
    case .cipher: if let tls = facts.tls { line.append(tls.suite.name) }
    case .userAgent: append(summary?.userAgent, text)
    case .referer: append(summary?.referer, text)
    case .requestID: append(summary?.requestID, text)
    case .traceID: append(summary?.traceID, text)
    case .backend:
      if let last = attempts.last { line.appendEscaped(name(of: last, names).bytes.span) }
    case .attempts: line.append(decimal: UInt64(attempts.count))
    case .sample: line.append(decimal: UInt64(facts.sample))
    }
  }

  private mutating func append(_ slice: Slice?, _ text: Span<UInt8>) {
    if let slice { line.appendEscaped(text.extracting(slice.range)) }
  }
}

extension ByteBuffer {
  fileprivate mutating func appendEscaped(of text: borrowing ByteBuffer) {
    appendEscaped(text.bytes)
  }

  /// Appends bytes as nginx's log has them.
  fileprivate mutating func appendEscaped(_ bytes: Span<UInt8>) {
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
