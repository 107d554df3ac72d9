// A real Prometheus scrapes Martlet, and a query has the right result while a backend dies.

import Foundation
import Testing

@Suite struct PrometheusTests {
  @Test func `the rate of errors by backend shows which one failed`() throws {
    let (good, bad) = (try StubBackend("good"), try Nginx("bad"))
    let martlet = try MartletProcess(
      backends: [good, bad], pool: #""name": "app", "health": "off", "ejection": "off""#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let target = "127.0.0.1:\(try martlet.adminPort())"
    let folder = TemporaryFolder()
    try folder.write(
      """
      global: { scrape_interval: 1s }
      scrape_configs: [{ job_name: martlet, static_configs: [{ targets: ["\(target)"] }] }]
      """, to: "prometheus.yml")
    let port = try freePort()
    let prometheus = try ChildProcess(
      [
        "prometheus", "--config.file=\(folder.path("prometheus.yml"))",
        "--storage.tsdb.path=\(folder.path("data"))", "--web.listen-address=127.0.0.1:\(port)",
      ])
    let load = Load(martlet)
    try eventually("it is scraped") {
      try query("up{job=\"martlet\"}", port).first?.value == 1
    }
    #expect(try failures(port).values.allSatisfy { $0 == 0 })
    // It requested OpenMetrics, since the text format has no units.
    try eventually("the unit is known") {
      let found = try ask("metadata?metric=martlet_received_bytes", port)?["data"]
      let family = (found as? [String: [[String: Any]]])?["martlet_received_bytes"]?.first
      return family?["unit"] as? String == "bytes" && family?["type"] as? String == "counter"
    }
    bad.kill()
    try eventually("failures of the dead one show") {
      try failures(port)[bad.address, default: 0] > 0
    }
    let rates = try failures(port)
    #expect(rates[good.address] == 0)
    #expect(load.stop().errors.isEmpty)
    prometheus.signal(SIGTERM)
    _ = try prometheus.waitForExit()
  }

  private func scrape(_ martlet: MartletProcess, _ accept: String) throws -> Message {
    try Wire(port: try martlet.adminPort()).exchange(
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(accept)\r\n")
  }

  @Test func `a client that asks for OpenMetrics gets it, with the same series`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend(), "127.0.0.1:1"], pool: #""name": "app", "health": "off""#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    for _ in 0..<5 { _ = try martlet.get() }
    let open = try scrape(
      martlet,
      "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n")
    #expect(
      open["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8")
    let metrics = OpenMetrics(open.text)
    #expect(metrics.faults == [])
    #expect(metrics.kinds["martlet_requests"] == "counter")
    #expect(metrics.kinds["martlet_build"] == "info")
    #expect(metrics.kinds["martlet_route_duration_seconds"] == "histogram")
    #expect(metrics.units["process_cpu_seconds"] == "seconds")
    #expect(metrics.values["martlet_requests_total{}"] == "5")

    let plain = try scrape(martlet, "Accept: text/plain\r\n")
    #expect(plain["Content-Type"]?.hasPrefix("text/plain; version=0.0.4") == true)
    func names(_ text: String) -> [Substring] {
      text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        .compactMap { $0.split(separator: " ").dropLast().first }
    }
    #expect(names(open.text) == names(plain.text))
    let check = try run(["promtool", "check", "metrics"], input: plain.text)
    #expect(check.status == 0 && check.errors.isEmpty, "\(check.output)\(check.errors)")
  }

  @Test(arguments: [
    ("a 1\n# EOF\n", "not of the family"), ("# TYPE a gauge\na 1\n", "no # EOF"),
    ("# TYPE a counter\na 1\n# EOF\n", "not of the family"),
    ("# TYPE a_total counter\na_total 1\n# EOF\n", "not of the family"),
    ("# TYPE a gauge\n# UNIT a bytes\na 1\n# EOF\n", "a unit that"),
    ("# TYPE a gauge\na 1\na 1\n# EOF\n", "a second time"),
    ("# TYPE a gauge\n# TYPE b gauge\n# TYPE a gauge\n# EOF\n", "torn apart"),
    ("# TYPE a gauge\na{b=\"\"c\"} 1\n# EOF\n", "bad labels"),
    ("# TYPE a histogram\na_bucket{le=\"1\"} 1\n# EOF\n", "canonical"),
    ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\n# EOF\n", "a count other"),
  ])
  func `the check of OpenMetrics finds what is wrong`(_ text: String, _ fault: String) {
    let faults = OpenMetrics(text).faults
    #expect(faults.contains { $0.contains(fault) }, "\(faults)")
  }

  @Test func `alerts and dashboard use existing metrics`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let port = try martlet.adminPort()
    let text = try Wire(port: port).exchange(
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ).text
    let folder = Installation.root + "/packaging/prometheus"
    let rules = try run(["promtool", "check", "rules", folder + "/alerts.yml"])
    #expect(rules.status == 0, "\(rules.output)\(rules.errors)")
    let config = try run(["promtool", "check", "config", folder + "/prometheus.yml"])
    #expect(config.status == 0, "\(config.output)\(config.errors)")
    for file in ["alerts.yml", "grafana.json"] {
      let asked = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
      let names = Set(asked.matches(of: /(martlet|process)_[a-z0-9_]+/).map { String($0.0) })
      #expect(names.count > 5)
      // A family without any series in this process is present without a series.
      for name in names {
        let isThere = text.contains("\n\(name)") || text.contains("# TYPE \(name) ")
        #expect(isThere, "\(file): \(name)")
      }
    }
  }

  private func failures(_ port: Int) throws -> [String: Double] {
    let rate = "sum by (backend) (rate(martlet_backend_failures_total[10s]))"
    return Dictionary(
      uniqueKeysWithValues: try query(rate, port).map { ($0.labels["backend"] ?? "", $0.value) })
  }

  private func query(
    _ text: String, _ port: Int
  ) throws -> [(labels: [String: String], value: Double)] {
    let allowed = CharacterSet.alphanumerics
    let encoded = text.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
    let data = try ask("query?query=\(encoded)", port)?["data"] as? [String: Any]
    return (data?["result"] as? [[String: Any]] ?? []).map { series in
      let labels = series["metric"] as? [String: String] ?? [:]
      let pair = series["value"] as? [Any]
      return (labels, (pair?.last as? String).flatMap(Double.init) ?? .nan)
    }
  }

  /// The response of its HTTP API; nil before it listens.
  private func ask(_ target: String, _ port: Int) throws -> [String: Any]? {
    guard let wire = try? Wire(port: port),
      let answer = try? wire.exchange(
        "GET /api/v1/\(target) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
      answer.status == 200
    else { return nil }
    return try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
  }
}
