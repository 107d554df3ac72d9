// What operators see of TCP listeners: log lines in each format, `tap`, `explain` and `status`,
// and connections that fail before they are an exchange.

import Foundation
import Testing

@Suite(.serialized) struct TCPOperatorTests {
  private func martlet(
    _ backends: [any ConfiguredBackend], listener: String = "", pool: String = "", log: String = ""
  ) throws -> MartletProcess {
    let list = backends.map(\.json).joined(separator: ", ")
    return try MartletProcess(
      """
      { "listeners": [{ "name": "in", "listen": "127.0.0.1:0", "protocol": "tcp"\(listener) }],
        "pools": [{ "name": "app", "backends": [\(list)]\(pool) }],
        "log": { "target": "access.log"\(log) } }
      """, keeping: backends)
  }

  private func command(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    try run(
      [Installation.binary] + arguments + ["--socket", martlet.folder.path("admin.sock")],
      in: martlet.folder.path)
  }

  private func firstLine(_ martlet: MartletProcess) -> String {
    eventually("there is a line") { !martlet.accessLog.isEmpty }
    return martlet.folder.lines(of: "access.log").first.map(String.init) ?? ""
  }

  // MARK: Log lines

  @Test(arguments: [
    ("text", #".*Z 127\.0\.0\.1 TCP "" "in">"app" - \d+ [\d.]+ms ok \[\S+ ok .*\] received \d+"#),
    ("combined", #"127\.0\.0\.1 - - \[.*\] "TCP in>app ok" - \d+ "-" "-""#),
    (
      "$kind $method $host $target $received>0 $status $failure $retry $grpc_status",
      #"tcp TCP - in>app \d+>0 - - - -"#
    ),
  ])
  func `a line has the listener, the pool and the result`(
    _ format: String, _ pattern: String
  ) throws {
    let martlet = try martlet([try StubBackend()], log: #", "access": "\#(format)""#)
    #expect(try martlet.get().status == 200)
    let line = firstLine(martlet)
    #expect(try Regex(pattern).wholeMatch(in: line) != nil, "\(line)")
  }

  @Test func `tap shows where a connection went, and how many bytes it had`() throws {
    let stub = try StubBackend()
    let martlet = try martlet([stub])
    let tap = try ChildProcess([
      Installation.binary, "tap", "--socket", martlet.folder.path("admin.sock"),
    ])
    eventually("there is a line") {
      _ = try? martlet.get()
      return tap.outputText.contains("\n")
    }
    tap.end()
    let line = try #require(tap.outputText.split(separator: "\n").first)
    let pattern = #/\S+Z 127\.0\.0\.1 TCP - in>app ok received \d+ sent \d+ [\d.]+ms \[\S+ ok .*\]/#
    #expect(try pattern.wholeMatch(in: line) != nil, "\(line)")
  }

  // MARK: Before an exchange

  @Test func `a connection above a limit is logged, and counted by listener`() throws {
    let stub = try StubBackend()
    let martlet = try martlet([stub], listener: #", "max-connections": 1"#)
    let first = try martlet.wire()
    try first.send("GET")
    eventually("it is open") { hasEstablishedConnection(toPort: stub.port) }
    let series =
      #"martlet_listener_connections_refused_total{listener="in",limit="max-connections"}"#
    try eventually("further ones are refused") {
      _ = try? martlet.get()
      return try martlet.metric(series) > 1
    }
    eventually("the process log has it") {
      martlet.log.contains(#/a limit is reached limit=max-connections listener=in peer=127/#)
    }
    // Once in ten seconds.
    #expect(martlet.log.matches(of: #/a limit is reached/#).count == 1)
    let status = try command(martlet, "status").output
    let counts = #/in  1 open, 0 ended well, 0 failed, [1-9]\d* refused; /#
    #expect(status.contains(counts), "\(status)")
    #expect(status.contains(#/clients .* connections refused by limits/#), "\(status)")
    #expect(!status.contains("PROTOCOL") && status.contains("\ntcp       1 open"), "\(status)")
    first.end()
  }

  @Test func `a TLS handshake that fails is logged, and gets no page`() throws {
    let certificates = try Certificates()
    let martlet = try martlet(
      [try StubBackend()],
      listener: #", "tls": { "certificates": [\#(certificates.entry())] }"#)
    for (bytes, reason) in [("GET / HTTP/1.1\r\n\r\n", "plaintext-http"), ("PING\r\n", "not-tls")] {
      let wire = try martlet.wire()
      try wire.send(bytes)
      let answer = (try? wire.takeRest()) ?? []
      #expect(!String(decoding: answer, as: UTF8.self).contains("HTTP"))
      eventually("the process log has \(reason)") {
        martlet.log.contains("TLS handshake of a connection failed listener=in peer=127")
          && martlet.log.contains("reason=\(reason)")
      }
    }
  }

  // MARK: Selection

  @Test func `explain shows the backend of a client and of a key`() throws {
    let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
    let flow = try martlet(stubs, pool: #", "strategy": "maglev", "health": "off""#)
    func backend(_ text: String) -> String? {
      text.firstMatch(of: #/(?m)^backend +(\S+)$/#).map { String($0.1) }
    }
    let target = "127.0.0.1:\(flow.port)"
    let client = try command(flow, "explain", "--client", "127.0.0.1", "tcp", target).output
    let served = try flow.get().text
    let expected = try #require(stubs.first { $0.requests.count == 1 }).address
    #expect(backend(client) == expected, "\(served) \(client)")
    let unknown = try command(flow, "explain", "tcp", target).output
    #expect(backend(unknown) == nil, "\(unknown)")
    #expect(unknown.contains("--client ADDRESS shows which"), "\(unknown)")
    let wrong = try command(flow, "explain", "--client", "me", "tcp", target)
    #expect(wrong.errors.contains("'me' is no client"), "\(wrong)")

    let http = try MartletProcess(
      backends: stubs,
      pool: #""strategy": "maglev", "hash-key": "header:X-Tenant", "health": "off""#)
    for key in 0..<8 {
      let text = try command(
        http, "explain", "--header", "X-Tenant: t\(key)", "GET", "http://a:\(http.port)/").output
      let name = try http.get("/", "X-Tenant: t\(key)\r\n").text
      let index = try #require(["a", "b", "c"].firstIndex(of: name))
      #expect(backend(text) == stubs[index].address, "\(text)")
      #expect(text.contains("key       the header X-Tenant\n"), "\(text)")
    }
    let port = try command(flow, "explain", "tcp", "127.0.0.1:\(http.port)")
    #expect(port.errors.contains("no TCP listener has port"), "\(port)")
    let other = try command(http, "explain", "tcp", "127.0.0.1:\(http.port)")
    #expect(other.errors.contains("belongs to the HTTP listener"), "\(other)")
  }

  @Test func `a panic is logged at its begin and its end`() throws {
    let stub = try StubBackend()
    let port = try freePort()
    let martlet = try martlet(
      [stub, "127.0.0.1:\(port)", "127.0.0.1:\(try freePort())"],
      pool: """
        , "failover": { "panic-percent": 50 }, "retry": { "max-attempts": 2 }, "ejection": "off",
          "health": { "interval": "100ms", "fast-interval": "100ms", "fall": 1, "rise": 1 }
        """)
    eventually("it begins") {
      martlet.log.contains("too few backends are healthy: all are used")
    }
    // The second attempt finds the healthy one.
    for _ in 0..<9 { #expect(try martlet.get().status == 200) }
    let drained = try command(martlet, "drain", "app/127.0.0.1:\(port)")
    #expect(drained.output.contains("0 active connections"), "\(drained)")
    eventually("it ends") { martlet.log.contains("enough backends are healthy again") }
  }
}
