// A real Prometheus scrapes Martlet, and a query answers right while a backend dies.

import Foundation
import Testing

@Suite struct PrometheusTests {
  @Test func `the rate of errors by backend shows which one died`() throws {
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

  @Test func `alerts and dashboard ask for metrics that there are`() throws {
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
      // A family of something that this process has none of stands there without a series.
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
    // It doesn't listen at once.
    guard let wire = try? Wire(port: port),
      let answer = try? wire.exchange(
        "GET /api/v1/query?query=\(encoded) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
      answer.status == 200
    else { return [] }
    let value = try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
    let data = value?["data"] as? [String: Any]
    return (data?["result"] as? [[String: Any]] ?? []).map { series in
      let labels = series["metric"] as? [String: String] ?? [:]
      let pair = series["value"] as? [Any]
      return (labels, (pair?.last as? String).flatMap(Double.init) ?? .nan)
    }
  }
}
