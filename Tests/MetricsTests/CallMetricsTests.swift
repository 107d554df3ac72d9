// Calls of gRPC: counted by method and status over all workers, with a limited number of methods.

import Testing

@testable import Metrics

@Suite struct CallMetricsTests {
  private static let names: [StaticString] = ["ok", "cancelled", "unknown"]

  private func page(_ registry: CallRegistry) -> [String] {
    var output = FamilyWriter(.text)
    output.append(registry, naming: Self.names)
    return String(decoding: output.finish(), as: UTF8.self).split(separator: "\n").map(String.init)
      .filter { !$0.hasPrefix("#") }
  }

  @Test func nothingIsWrittenBeforeTheFirstCall() {
    var output = FamilyWriter(.text)
    output.append(CallRegistry(), naming: Self.names)
    #expect(output.finish().isEmpty)
  }

  @Test func workersShareTheirMethods() {
    let registry = CallRegistry()
    var (first, second) = (CallTable(registry), CallTable(registry))
    for _ in 0..<2 { first.add(Array("/a.B/C".utf8).span, isKnown: true, status: 0) }
    second.add(Array("/a.B/D".utf8).span, isKnown: true, status: 1)
    second.add(Array("/a.B/C".utf8).span, isKnown: true, status: 0)
    #expect(
      page(registry) == [
        #"martlet_grpc_calls_total{service="a.B",method="C",status="ok"} 3"#,
        #"martlet_grpc_calls_total{service="a.B",method="D",status="cancelled"} 1"#,
      ])
  }

  @Test func codesThatDontExistAreUnknownAndMissingOnesHaveAName() {
    let registry = CallRegistry()
    var table = CallTable(registry)
    let method = Array("/a.B/C".utf8)
    for status in [17, 99, 255] as [UInt8] { table.add(method.span, isKnown: true, status: status) }
    table.add(method.span, isKnown: false, status: nil)
    #expect(
      page(registry) == [
        #"martlet_grpc_calls_total{service="a.B",method="C",status="unknown"} 3"#,
        #"martlet_grpc_calls_total{service="a.B",method="C",status="missing"} 1"#,
      ])
  }

  @Test func aMethodThatNobodyAnsweredGetsNoPlace() {
    let registry = CallRegistry()
    var table = CallTable(registry)
    table.add(Array("/a.B/C".utf8).span, isKnown: false, status: 2)
    table.add([UInt8]().span, isKnown: true, status: 0)
    #expect(
      page(registry) == [
        #"martlet_grpc_calls_total{service="other",method="other",status="ok"} 1"#,
        #"martlet_grpc_calls_total{service="other",method="other",status="unknown"} 1"#,
      ])
  }

  @Test func methodsBeyondTheLimitAreCountedTogetherByAllWorkers() {
    let registry = CallRegistry()
    var (first, second) = (CallTable(registry), CallTable(registry))
    for number in 0..<CallRegistry.methodMax + 10 {
      first.add(Array("/s/\(number)".utf8).span, isKnown: true, status: 0)
    }
    // It has a place, which another worker took.
    second.add(Array("/s/new".utf8).span, isKnown: true, status: 0)
    second.add(Array("/s/7".utf8).span, isKnown: true, status: 0)
    let lines = page(registry)
    #expect(lines.count == CallRegistry.methodMax + 1)
    #expect(lines.contains(#"martlet_grpc_calls_total{service="s",method="7",status="ok"} 2"#))
    #expect(
      lines.last == #"martlet_grpc_calls_total{service="other",method="other",status="ok"} 11"#)
  }
}
