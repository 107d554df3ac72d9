// The text that a Prometheus server reads: formats, names, and sums over workers.

import Primitives
import Testing

@testable import Metrics

@Suite struct ExpositionTests {
  private func lines(
    _ worker: WorkerMetrics, _ format: ExpositionFormat = .text
  ) -> [String] {
    var output = FamilyWriter(format)
    output.append(MetricsSnapshot(of: [worker]))
    let text = String(decoding: output.finish(), as: UTF8.self)
    #expect(text.last == "\n")
    return text.split(separator: "\n").map(String.init)
  }

  @Test func aFamilyIsIntroducedOnceAndHasALinePerSeries() throws {
    let worker = WorkerMetrics()
    worker.add(.responses2xx, 41)
    worker.add(.responses5xx, 2)
    let lines = lines(worker)
    let start = try #require(lines.firstIndex { $0.hasPrefix("# HELP martlet_responses_total ") })
    #expect(
      lines[(start + 1)..<(start + 7)] == [
        "# TYPE martlet_responses_total counter",
        "martlet_responses_total{class=\"1xx\"} 0",
        "martlet_responses_total{class=\"2xx\"} 41",
        "martlet_responses_total{class=\"3xx\"} 0",
        "martlet_responses_total{class=\"4xx\"} 0",
        "martlet_responses_total{class=\"5xx\"} 2",
      ])
    #expect(lines.contains("martlet_requests_total 0"))
    #expect(lines.contains("# TYPE martlet_exchanges_active gauge"))
  }

  @Test func seriesAreUniqueAndFamiliesAreNotTornApart() {
    let lines = lines(WorkerMetrics())
    let heads = lines.filter { $0.hasPrefix("# TYPE ") }
    #expect(Set(heads).count == heads.count)
    let series = lines.filter { !$0.hasPrefix("#") }
    #expect(Set(series).count == Metric.allCases.count)
  }

  @Test func openMetricsNamesTheFamilyWithoutTheSuffixOfItsSeries() throws {
    let lines = lines(WorkerMetrics(), .openMetrics)
    let start = try #require(lines.firstIndex(of: "# TYPE martlet_requests counter"))
    #expect(lines[start + 1].hasPrefix("# HELP martlet_requests "))
    #expect(lines[start + 2] == "martlet_requests_total 0")
    #expect(lines.contains("# UNIT martlet_received_bytes bytes"))
    #expect(lines.last == "# EOF")
  }

  @Test func bothFormatsHaveTheSameSeries() {
    let isSeries: (String) -> Bool = { !$0.hasPrefix("#") }
    let worker = WorkerMetrics()
    worker.add(.requests, 3)
    #expect(lines(worker, .openMetrics).filter(isSeries) == lines(worker).filter(isSeries))
  }

  @Test func anInfoIsAGaugeWhereThereIsNoSuchThing() {
    func lines(_ format: ExpositionFormat) -> [String] {
      var output = FamilyWriter(format)
      output.family("a_info", .info, "A.")
      output.series("a_info", [("b", "\"\\\n")], "1")
      let text = String(decoding: output.finish(), as: UTF8.self)
      return text.split(separator: "\n").map(String.init)
    }
    let series = #"a_info{b="\"\\\n"} 1"#
    #expect(lines(.text) == ["# HELP a_info A.", "# TYPE a_info gauge", series])
    #expect(lines(.openMetrics) == ["# TYPE a info", "# HELP a A.", series, "# EOF"])
  }

  @Test(arguments: Metric.allCases)
  func namesFollowTheConventions(metric: Metric) {
    let entry = metric.entry
    let name = entry.family.description
    #expect(name.hasPrefix("martlet_"))
    #expect(name.wholeMatch(of: /[a-z][a-z0-9_]*/) != nil)
    #expect(name.hasSuffix("_total") == (entry.kind == .counter))
    #expect(entry.help.description.hasSuffix("."))
    // No character that must be escaped in one of the formats.
    #expect(!entry.help.description.contains { "\"\\\n".contains($0) })
  }
}
