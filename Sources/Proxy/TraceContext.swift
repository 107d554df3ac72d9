// Takes part in traces (W3C Trace Context): whether a request is traced, and what the next server
// is told about its trace.

public import HTTP
public import Primitives

/// The position of a traced exchange in its trace.
public struct TraceContext: Equatable, Sendable {
  /// The id of the trace.
  public let high: UInt64
  public let low: UInt64
  /// The parent span; 0 when the trace begins here.
  public let parent: UInt64
  /// The exchange's own span.
  public let span: UInt64
}

extension FieldBlock {
  /// Continues the trace in the fields or begins a new one, and writes our span into `traceparent`.
  /// Returns nil when the exchange isn't recorded: the client's trace isn't sampled, or the trace
  /// that begins here isn't part of the sample.
  ///
  /// - Parameter sampleMax: traces that begin here are recorded if their id is at most this; nil
  ///   for none.
  public mutating func continueTrace(
    sampleMax: UInt64?, using generator: inout RandomGenerator
  ) -> TraceContext? {
    if let parent = traceParent {
      // The client has decided, and the next server gets the client's decision unchanged.
      if !parent.isSampled { return nil }
      let context = TraceContext(
        high: parent.high, low: parent.low, parent: parent.span, span: generator.nextID())
      setTraceParent(context, isSampled: true)
      return context
    }
    // It belongs to the `traceparent` that couldn't be read (W3C Trace Context 4.3).
    removeAll(of: .tracestate)
    let context = TraceContext(
      high: generator.nextID(), low: generator.nextID(), parent: 0, span: generator.nextID())
    let isSampled = sampleMax.map { context.low <= $0 } ?? false
    setTraceParent(context, isSampled: isSampled)
    return isSampled ? context : nil
  }

  private var traceParent: (high: UInt64, low: UInt64, span: UInt64, isSampled: Bool)? {
    guard traceID != nil, let value = first(.traceparent) else { return nil }
    var fieldCount = 0
    for index in 0..<count where self[index].known == .traceparent && !self[index].isRemoved {
      fieldCount += 1
    }
    if fieldCount > 1 { return nil }
    let bytes = bytes(of: value)
    return (
      bytes.hexadecimalValue(3..<19), bytes.hexadecimalValue(19..<35),
      bytes.hexadecimalValue(36..<52), bytes.hexadecimalValue(53..<55) & 1 == 1
    )
  }

  private mutating func setTraceParent(_ context: TraceContext, isSampled: Bool) {
    removeAll(of: .traceparent)
    beginField(.traceparent)
    appendValue("00-")
    appendValue(digits: context.high)
    appendValue(digits: context.low)
    appendValue("-")
    appendValue(digits: context.span)
    appendValue(isSampled ? "-01" : "-00")
    endField()
  }
}

extension Span where Element == UInt8 {
  /// The digits were checked before.
  fileprivate func hexadecimalValue(_ range: Range<Int>) -> UInt64 {
    var value: UInt64 = 0
    for index in range { value = value << 4 | UInt64(self[index].hexadecimalValue ?? 0) }
    return value
  }
}

extension RandomGenerator {
  /// Never 0, since an id of zeros is invalid.
  public mutating func nextID() -> UInt64 { max(1, next()) }
}
