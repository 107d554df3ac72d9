// The metrics for an operator's dashboards, from the real binary after real traffic: counted once,
// with the documented labels, and accepted by promtool.

import Foundation
import Testing

@Suite struct MetricsPageTests {
  private func page(_ martlet: MartletProcess) throws -> String {
    try run([
      "curl", "-sS", "--unix-socket", martlet.folder.path("admin.sock"), "http://localhost/metrics",
    ]).output
  }

  /// The values of a family by the labels of its series.
  private func values(_ name: String, in page: String) -> [String: Double] {
    var values: [String: Double] = [:]
    for line in page.split(separator: "\n") where line.hasPrefix(name) {
      let rest = line.dropFirst(name.count)
      guard rest.first == "{" || rest.first == " ", let space = rest.lastIndex(of: " ") else {
        continue
      }
      values[String(rest[..<space])] = Double(rest[rest.index(after: space)...])
    }
    return values
  }

  @Test func `checks, connections, bytes, codes and times are there by backend and by route`()
    throws
  {
    let certificates = try Certificates()
    let stub = try StubBackend { request, wire in
      let status = request.target == "/missing" ? "404 Not Found" : "200 OK"
      try wire.send("HTTP/1.1 \(status)\r\nContent-Length: 5\r\n\r\nhello")
      return true
    }
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [stub, dead],
      pool: #""name": "app", "queue": { "size": 7 }, "health": { "interval": "100ms", "fall": 1 }"#,
      listener: #""name": "front", "tls": { "certificates": [\#(certificates.entry())] }"#)
    eventually("the dead one is known to be dead") { martlet.log.contains("backend down") }
    for arguments in [["/"], ["/"], ["/missing"], ["/", "-d", "12345678"], ["/", "-X", "BREW"]] {
      let curl = try run(
        ["curl", "-sS", "--cacert", certificates.authority, "-o", "/dev/null"]
          + arguments.dropFirst() + ["https://localhost:\(martlet.port)\(arguments[0])"])
      #expect(curl.status == 0, "\(curl)")
    }
    let page = try page(martlet)
    func value(_ name: String, _ labels: String = "") -> Double? {
      values(name, in: page)[labels]
    }
    let backend = #"pool="app",backend="\#(stub.address)""#
    let codes = values("martlet_route_requests_total", in: page)
    #expect(
      codes == [
        #"{listener="front",route="*/",method="GET",code="200"}"#: 2,
        #"{listener="front",route="*/",method="GET",code="404"}"#: 1,
        #"{listener="front",route="*/",method="POST",code="200"}"#: 1,
        #"{listener="front",route="*/",method="other",code="200"}"#: 1,
      ])
    #expect(value("martlet_listener_received_bytes_total", #"{listener="front"}"#) == 8)
    #expect(value("martlet_listener_sent_bytes_total", #"{listener="front"}"#) == 25)
    #expect(value("martlet_backend_sent_bytes_total", "{\(backend)}") == 8)
    #expect(value("martlet_backend_received_bytes_total", "{\(backend)}") == 25)
    #expect(value("martlet_listener_connections_accepted_total", #"{listener="front"}"#) == 5)
    let opened = try #require(value("martlet_backend_connections_opened_total", "{\(backend)}"))
    #expect(1...5 ~= opened)
    #expect(value("martlet_backend_connect_seconds_count", "{\(backend)}") == opened)
    #expect(try #require(value("martlet_backend_connect_seconds_sum", "{\(backend)}")) > 0)
    #expect(value("martlet_backend_first_byte_seconds_count", "{\(backend)}") == 5)
    #expect(value("martlet_handshake_duration_seconds_count") == 5)
    #expect(try #require(value("martlet_handshake_duration_seconds_sum")) > 0)
    let checks = values("martlet_backend_health_checks_total", in: page)
    #expect(try #require(checks[#"{\#(backend),result="ok"}"#]) > 0)
    let dying = #"pool="app",backend="\#(dead)""#
    #expect(try #require(checks[#"{\#(dying),result="connect-refused"}"#]) > 0)
    #expect(value("martlet_backend_last_check_success", "{\(dying)}") == 0)
    #expect(value("martlet_backend_last_check_success", "{\(backend)}") == 1)
    let changed = try #require(value("martlet_backend_last_change_timestamp_seconds", "{\(dying)}"))
    #expect(abs(changed - Date().timeIntervalSince1970) < 600)
    let check = try run(["promtool", "check", "metrics"], input: page)
    #expect(check.status == 0, "\(check.output)\(check.errors)")
  }

  @Test func `a listener that a reload removes counts its connections to their end`() throws {
    let stub = try StubBackend("hello")
    let (one, two) = (try freePort(), try freePort())
    func configuration(_ listeners: [Int]) -> String {
      let list = listeners.map { #"{ "listen": "127.0.0.1:\#($0)", "name": "l\#($0)" }"# }
      return """
        { "listeners": [\(list.joined(separator: ", "))],
          "pools": [{ "backends": [\(stub.json)] }] }
        """
    }
    let martlet = try MartletProcess(configuration([one, two]), keeping: [stub])
    let wire = try martlet.wire(1)
    #expect(try wire.get("/").status == 200)
    try martlet.reload(configuration([one]))
    try #require(try wire.get("/").status == 421)
    try martlet.reload(configuration([one, two]))
    eventually("its connection is counted as closed") {
      (try? values("martlet_listener_connections_active", in: page(martlet))[
        #"{listener="l\#(two)"}"#]) == 0
    }
  }

  @Test func `metrics have each limit beside its use, and facts about the build`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      backends: [stub], pool: #""queue": { "size": 7 }"#,
      rest: #"""
        "limits": { "connections": 500, "handshakes": 40, "memory": "1GiB", "drain": "5s" }
        """#,
      flags: ["--workers", "2"])
    let page = try page(martlet)
    #expect(values("martlet_downstream_connections_max", in: page) == ["": 500])
    #expect(values("martlet_downstream_connections_active", in: page) == ["": 0])
    #expect(values("martlet_handshakes_max", in: page) == ["": 40])
    #expect(values("martlet_handshakes_active", in: page) == ["": 0])
    #expect(values("martlet_memory_max_bytes", in: page) == ["": 1_073_741_824])
    #expect(values("martlet_pool_queue_max", in: page) == [#"{pool="default"}"#: 7])
    #expect(values("martlet_limit_seconds", in: page)[#"{limit="drain"}"#] == 5)
    #expect(values("martlet_limit_bytes", in: page)[#"{limit="head-size"}"#] == 32_768)
    let build = try #require(values("martlet_build_info", in: page).keys.first)
    #expect(
      build.contains(
        /\{version="[0-9.]+",commit="[0-9a-z+]+",swift="6\.[^"]+",openssl="3\.[^"]+"\}/),
      "\(build)")
  }

  @Test func `a busy worker shows as busy`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub], flags: ["--workers", "2"])
    let name = "martlet_worker_cpu_seconds_total"
    let before = values(name, in: try page(martlet))
    #expect(Set(before.keys) == [#"{worker="0"}"#, #"{worker="1"}"#])
    try eventually("some work shows") {
      for _ in 0..<50 { _ = try martlet.get() }
      let after = values(name, in: try page(martlet))
      return after.contains { $0.value > before[$0.key, default: 0] }
    }
  }

  @Test func `requests in the queue are counted with their waiting time`() throws {
    let stub = try StubBackend { request, wire in
      if request.target == "/slow" { usleep(200_000) }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(
      backends: [Detailed(backend: stub, keys: #""max-connections": 1"#)],
      pool: #""queue": { "size": 5, "timeout": "10s" }"#)
    let first = try martlet.wire()
    try first.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually("it is there") { stub.requests.count == 1 }
    #expect(try martlet.get("/waits").status == 200)
    #expect(try first.takeResponse().status == 200)
    let page = try page(martlet)
    #expect(values("martlet_pool_queue_seconds_count", in: page) == [#"{pool="default"}"#: 1])
    let sum = try #require(values("martlet_pool_queue_seconds_sum", in: page).values.first)
    #expect(0 < sum && sum < 10)
    let limit = values("martlet_backend_exchanges_max", in: page)
    #expect(limit == [#"{pool="default",backend="\#(stub.address)"}"#: 1])
  }
}
