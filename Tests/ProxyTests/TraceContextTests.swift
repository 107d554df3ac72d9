// Continuing a trace, and beginning a new one.

import HTTP
import Primitives
import Proxy
import Testing

@Suite struct TraceContextTests {
  private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"

  private func continued(
    _ fields: [(String, String)], sampleMax: UInt64?
  ) -> (context: TraceContext?, lines: [String]) {
    var head = request(fields)
    var generator = RandomGenerator(seed: 1)
    let context = head.fields.continueTrace(sampleMax: sampleMax, using: &generator)
    return (context, lines(head.fields))
  }

  private func hexadecimal(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  @Test(arguments: ["00-\(trace)-00f067aa0ba902b7-01", "cc-\(trace)-00f067aa0ba902b7-09-more"])
  func aSampledTraceGoesOnWithOurSpan(value: String) throws {
    let (found, lines) = continued(
      [("traceparent", value), ("tracestate", "a=b")], sampleMax: nil)
    let context = try #require(found)
    #expect(context.high == 0x4bf9_2f35_77b3_4da6 && context.low == 0xa3ce_929d_0e0e_4736)
    #expect(context.parent == 0x00f0_67aa_0ba9_02b7)
    #expect(context.span != 0 && context.span != context.parent)
    #expect(
      lines == [
        "tracestate: a=b", "traceparent: 00-\(Self.trace)-\(hexadecimal(context.span))-01",
      ])
  }

  @Test func aTraceThatIsNotSampledIsPassedOnUnchanged() {
    let fields = [("traceparent", "00-\(Self.trace)-00f067aa0ba902b7-02"), ("tracestate", "a=b")]
    let (context, lines) = continued(fields, sampleMax: .max)
    #expect(context == nil)
    #expect(lines == fields.map { "\($0): \($1)" })
  }

  @Test(arguments: [
    [], [("traceparent", "00-\(trace)-00f067aa0ba902b7")],
    [("traceparent", "00-\(trace)-0000000000000000-01"), ("tracestate", "a=b")],
    [
      ("traceparent", "00-\(trace)-00f067aa0ba902b7-01"),
      ("traceparent", "00-\(trace)-00f067aa0ba902b8-01"),
    ],
  ])
  func withoutATraceOneBegins(fields: [(String, String)]) throws {
    let (found, lines) = continued(fields, sampleMax: .max)
    let context = try #require(found)
    #expect(context.parent == 0 && context.span != 0 && context.high != 0xa3ce_929d_0e0e_4736)
    let id = hexadecimal(context.high) + hexadecimal(context.low)
    #expect(lines == ["traceparent: 00-\(id)-\(hexadecimal(context.span))-01"])

    // A trace that isn't sampled passes this on to the next server.
    let (none, others) = continued(fields, sampleMax: nil)
    #expect(none == nil)
    #expect(others == ["traceparent: 00-\(id)-\(hexadecimal(context.span))-00"])
  }

  @Test func theSampleHasTheConfiguredSize() {
    var generator = RandomGenerator(seed: 2)
    var count = 0
    for _ in 0..<4000 {
      var head = request()
      let context = head.fields.continueTrace(sampleMax: .max / 4, using: &generator)
      if context != nil { count += 1 }
    }
    #expect((900...1100).contains(count))
  }
}
