// Spans of what was traced: one for the exchange, and one in it for each attempt.

import HTTP
import Metrics
import Primitives
import Proxy
import Reactor

/// Which requests are traced, and the destination of spans.
struct Tracing: Sendable {
  let exporter: SpanExporter
  /// See `continueTrace`.
  let sampleMax: UInt64?

  /// - Parameter ratio: 0 to 1.
  init(exporter: SpanExporter, sampling ratio: Double) {
    self.exporter = exporter
    sampleMax =
      switch ratio {
      case ..<(0x1p-64): nil
      case 1...: .max
      // Less than 2^64.
      default: UInt64(ratio * 0x1p64)
      }
  }
}

extension Worker where IO: ~Copyable {
  /// Makes the request in the next head part of a trace; nil when it isn't recorded.
  mutating func traceRequest() -> TraceContext? {
    guard let tracing = settings.tracing else { return nil }
    return heads[nextHead].fields.continueTrace(sampleMax: tracing.sampleMax, using: &generator)
  }

  /// The spans of an exchange that has ended.
  mutating func exportSpans(
    of handle: Handle, _ trace: TraceContext, status: UInt16, failure: StaticString?
  ) {
    let end = io.wallTime
    let client = exchanges[handle].client.connection
    spans.removeAll()
    spans.append(
      heads[exchanges[handle].head], trace,
      SpanFacts(
        route: exchanges[handle].route?.path ?? [],
        isTLS: connections[client].transport.isEncrypted,
        client: exchanges[handle].request.client, status: status, failure: failure,
        isCall: exchanges[handle].request.isGRPC,
        grpcStatus: exchanges[handle].response.grpcStatus),
      hiding: log.settings.hidden,
      from: instant(exchanges[handle].machine.startedAt, before: end), to: end)
    for index in 0..<exchanges[handle].machine.attempts.count {
      let attempt = exchanges[handle].machine.attempts[index]
      let start = instant(attempt.startedAt, before: end)
      spans.begin(
        trace, span: generator.nextID(), parent: trace.span, .client,
        name: heads[exchanges[handle].head].method.spanName.bytes, route: Span(), from: start,
        to: start &+ UInt64(max(0, attempt.duration.nanoseconds)))
      spans.attribute("http.request.method", heads[exchanges[handle].head].method.semanticName)
      if backends.contains(attempt.backend) {
        let backend = backends.names[attempt.backend].bytes
        spans.attribute("server.address", backend.span)
      }
      if attempt.status > 0 {
        spans.attribute("http.response.status_code", UInt64(attempt.status))
      }
      if index > 0 { spans.attribute("http.request.resend_count", UInt64(index)) }
      let failed = attempt.result != .succeeded
      if failed { spans.attribute("error.type", attempt.result.name) }
      spans.end(failed: failed || attempt.status >= 400)
    }
    export(count: 1 + exchanges[handle].machine.attempts.count)
  }

  private mutating func export(count: Int) {
    guard let tracing = settings.tracing else { return }
    if !tracing.exporter.append(spans.bytes, worker: index) { metrics.add(.spansDropped, count) }
  }

  /// The wall clock's time at an earlier instant.
  private mutating func instant(_ past: Instant, before wall: UInt64) -> UInt64 {
    wall - min(wall, UInt64(max(0, (now - past).nanoseconds)))
  }
}
