// Traces for a collector, which is a Python program that parses the JSON as collectors do.

import Foundation
import Testing

@Suite(.serialized) struct TracingTests {
  /// Writes each received request as one line to `requests`. If there is a file `busy`, it responds
  /// with the status in it instead.
  private static let script = """
    import http.server, json, os, sys
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = int(open("busy").read()) if os.path.exists("busy") else 200
            value = json.loads(body)
            if status == 200:
                with open("requests", "a") as file:
                    line = {"path": self.path, "type": self.headers["Content-Type"], "body": value}
                    file.write(json.dumps(line) + "\\n")
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
        def log_message(self, *arguments): pass
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
    """

  private final class Collector: Sendable {
    let folder: TemporaryFolder
    let process: ChildProcess
    let port: Int

    init(port: Int = 0, in folder: TemporaryFolder = TemporaryFolder()) throws {
      self.folder = folder
      process = try ChildProcess(
        ["python3", "-c", TracingTests.script, "\(port)"], in: folder.path)
      let process = process
      _ = poll { process.outputText.hasSuffix("\n") || !process.isRunning }
      self.port = try #require(
        Int(process.outputText.trimmingCharacters(in: .whitespacesAndNewlines)),
        "\(process.errorText)")
    }

    /// The requests that it received.
    func requests() throws -> [[String: Any]] {
      try folder.lines(of: "requests").compactMap { line in
        try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      }
    }

    func spans() throws -> [Span] {
      try requests().flatMap { request -> [Span] in
        let resources = (request["body"] as? [String: Any])?["resourceSpans"] as? [[String: Any]]
        let scopes = resources?.first?["scopeSpans"] as? [[String: Any]]
        return (scopes?.first?["spans"] as? [[String: Any]] ?? []).map { Span(object: $0) }
      }
    }

    /// The spans when there are at least `count`.
    func spans(atLeast count: Int) throws -> [Span] {
      try eventually("\(count) spans have come") { try spans().count >= count }
      return try spans()
    }
  }

  private struct Span {
    let object: [String: Any]

    var id: String { object["spanId"] as? String ?? "" }
    var trace: String { object["traceId"] as? String ?? "" }
    var parent: String? { object["parentSpanId"] as? String }
    var kind: Int { object["kind"] as? Int ?? 0 }
    var name: String { object["name"] as? String ?? "" }
    var isError: Bool { (object["status"] as? [String: Any])?["code"] as? Int == 2 }
    var start: UInt64 { UInt64(object["startTimeUnixNano"] as? String ?? "") ?? 0 }
    var end: UInt64 { UInt64(object["endTimeUnixNano"] as? String ?? "") ?? 0 }

    subscript(key: String) -> String? {
      let all = object["attributes"] as? [[String: Any]] ?? []
      let value = all.first { $0["key"] as? String == key }?["value"] as? [String: Any]
      return value?["stringValue"] as? String ?? value?["intValue"] as? String
    }
  }

  private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
  private static let sampled = "traceparent: 00-\(trace)-00f067aa0ba902b7-01\r\n"
  private static let unsampled = "traceparent: 00-\(trace)-00f067aa0ba902b7-00\r\n"

  private func tracing(_ collector: Collector, _ rest: String = "") -> String {
    #""tracing": { "endpoint": "http://127.0.0.1:\#(collector.port)"\#(rest) }"#
  }

  @Test func `an exchange is a span of the client's trace, with a span for each attempt`() throws {
    let (collector, stub) = (try Collector(), try StubBackend("hello"))
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      """
      {
        "listeners": [{ "listen": "127.0.0.1:0" }], "workers": 1,
        "pools": [{
          "backends": ["\(dead)", \(stub.json)], "health": "off", "ejection": "off"
        }],
        "routes": [{ "path": "/shop" }],
        "log": { "target": "access.log", "redact-query": ["token"] },
        \(tracing(collector, #", "sample": 0, "service-name": "edge \"one\"""#))
      }
      """, keeping: [stub])
    // Round robin: a request that tries the dead backend first also uses the other one's turn.
    for _ in 0..<2 {
      #expect(
        try martlet.get("/shop/a?x=\"&token=secret", "User-Agent: tester\r\n" + Self.sampled).text
          == "hello")
    }
    _ = try martlet.accessLines(atLeast: 2)
    let spans = try collector.spans(atLeast: 6)
    #expect(spans.count == 6)
    #expect(spans.allSatisfy { $0.trace == Self.trace })
    let servers = spans.filter { $0.kind == 2 }
    #expect(servers.count == 2)
    for server in servers {
      #expect(server.parent == "00f067aa0ba902b7" && server.name == "GET /shop" && !server.isError)
      #expect(server["http.request.method"] == "GET" && server["http.route"] == "/shop")
      #expect(server["url.path"] == "/shop/a" && server["url.query"] == "x=\"&token=REDACTED")
      #expect(server["url.scheme"] == "http" && server["server.address"] == "localhost")
      #expect(server["client.address"] == "127.0.0.1")
      #expect(server["user_agent.original"] == "tester")
      #expect(server["http.response.status_code"] == "200" && server["error.type"] == nil)
      let attempts = spans.filter { $0.parent == server.id }.sorted { $0.start < $1.start }
      #expect(attempts.allSatisfy { $0.kind == 3 && $0.name == "GET" })
      #expect(attempts.last?["server.address"] == stub.address)
      #expect(attempts.last?["http.response.status_code"] == "200")
      if attempts.count == 2 {
        #expect(attempts[0]["server.address"] == dead && attempts[0].isError)
        #expect(attempts[0]["error.type"] == "connect-refused")
        #expect(attempts[1]["http.request.resend_count"] == "1")
      }
      for span in [server] + attempts {
        #expect(server.start <= span.start && span.start <= span.end && span.end <= server.end)
      }
      #expect(abs(Double(server.end) / 1e9 - Date().timeIntervalSince1970) < 60)
    }
    #expect(spans.filter { $0.kind == 3 && $0.isError }.count == 2)
    // The backend gets the server's span, and the log contains the trace.
    let told = stub.requests.map { $0["traceparent"] ?? "" }
    #expect(Set(told) == Set(servers.map { "00-\(Self.trace)-\($0.id)-01" }))
    #expect(
      try martlet.accessLines(atLeast: 2).allSatisfy { $0["trace_id"] as? String == Self.trace })

    let request = try #require(try collector.requests().first)
    #expect(request["path"] as? String == "/v1/traces")
    #expect(request["type"] as? String == "application/json")
    let resources = (request["body"] as? [String: Any])?["resourceSpans"] as? [[String: Any]]
    let resource = Span(object: resources?.first?["resource"] as? [String: Any] ?? [:])
    #expect(resource["service.name"] == "edge \"one\"")
  }

  @Test func `a call of gRPC has its method and its status, from trailers too`() throws {
    let (collector, stub) = (try Collector(), try HTTP2Server())
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2", "health": "off""#,
      listener: #""protocols": ["h2"]"#, rest: tracing(collector))
    let peer = try HTTP2Peer(martlet)
    let fields = [("content-type", "application/grpc"), ("te", "trailers")]
    for (method, ends) in [("Echo", true), ("Late", true), ("Missing", true)] {
      let stream = try peer.open("POST", "/test.Echo/\(method)", fields, body: .streamed)
      try peer.send(Array("x".utf8), on: stream, ends: ends)
      _ = try peer.answer(stream)
    }
    #expect(try peer.get("/").text == "plain")
    let servers = try collector.spans(atLeast: 8).filter { $0.kind == 2 }
      .sorted { $0.start < $1.start }
    #expect(servers.map { $0["rpc.system"] } == ["grpc", "grpc", "grpc", nil])
    #expect(servers.map { $0["rpc.service"] } == ["test.Echo", "test.Echo", "test.Echo", nil])
    #expect(servers.map { $0["rpc.method"] } == ["Echo", "Late", "Missing", nil])
    #expect(servers.map { $0["rpc.grpc.status_code"] } == ["0", "14", nil, nil])
    #expect(servers.map(\.isError) == [false, true, false, false])
  }

  @Test func `requests without a trace, or with one that isn't sampled, cause no span`() throws {
    let (collector, stub) = (try Collector(), try StubBackend())
    let martlet = try MartletProcess(
      backends: [stub], rest: tracing(collector, #", "sample": 0"#), flags: ["--workers", "1"])
    _ = try martlet.get("/", Self.unsampled)
    #expect(stub.lastRequest?["traceparent"] == "00-\(Self.trace)-00f067aa0ba902b7-00")
    _ = try martlet.get("/")
    let begun = try #require(stub.lastRequest?["traceparent"])
    #expect(begun.hasPrefix("00-") && begun.hasSuffix("-00") && begun.count == 55)
    _ = try martlet.get("/last", Self.sampled)
    #expect(try collector.spans(atLeast: 2).allSatisfy { $0.trace == Self.trace })
    #expect(try collector.spans().count == 2)
  }

  @Test func `requests without a trace begin one, and our own answers are spans too`() throws {
    let collector = try Collector()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(try freePort())"], pool: #""health": "off""#,
      rest: tracing(collector) + #", "routes": [{ "path": "/a" }]"#, flags: ["--workers", "1"])
    #expect(try martlet.answer("FROB /none HTTP/1.1\r\nHost: h\r\n\r\n").status == 404)
    #expect(try martlet.get("/a").status == 502)
    // The request could not be parsed.
    #expect(try martlet.answer("GET / HTTP/1.1\r\n\r\n").status == 400)
    let attempts = 3
    let spans = try collector.spans(atLeast: 2 + attempts)
    #expect(spans.count == 2 + attempts)
    let none = try #require(spans.first { $0["url.path"] == "/none" })
    #expect(none.parent == nil && none.name == "HTTP" && !none.isError && none.kind == 2)
    #expect(none["http.request.method"] == "_OTHER" && none["http.route"] == nil)
    #expect(none["http.request.method_original"] == "FROB" && none["error.type"] == "no-route")
    let failed = try #require(spans.first { $0["url.path"] == "/a" })
    #expect(failed.isError && failed["http.response.status_code"] == "502")
    #expect(failed.trace != none.trace)
    #expect(spans.contains { $0.parent == failed.id && $0["error.type"] == "connect-refused" })
  }

  private func metric(_ name: String, _ martlet: MartletProcess) throws -> Int {
    let text = try Wire(port: try martlet.adminPort()).exchange(
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ).text
    let line = text.split(separator: "\n").first { $0.hasPrefix("\(name) ") }
    return line.flatMap { Int($0.split(separator: " ")[1]) } ?? -1
  }

  @Test func `a collector that doesn't answer causes lost spans and never a lost answer`() throws {
    let (collector, stub) = (try Collector(), try StubBackend())
    try collector.folder.write("503", to: "busy")
    let martlet = try MartletProcess(
      backends: [stub],
      rest: tracing(collector) + #", "admin": { "listen": "127.0.0.1:0" }"#,
      flags: ["--workers", "1"])
    _ = try martlet.get("/first")
    eventually("it is said") {
      martlet.log.contains("traces can't be sent") && martlet.log.contains("to=http://127.0.0.1:")
    }
    let wire = try martlet.wire()
    let long = String(repeating: "x", count: 4000)
    for _ in 0..<100 { #expect(try wire.get("/\(long)").status == 200) }
    #expect(try metric("martlet_spans_dropped_total", martlet) > 20)
    #expect(try metric("martlet_spans_sent_total", martlet) == 0)

    unlink(collector.folder.path("busy"))
    eventually("what waited is sent") { martlet.log.contains(" again") }
    _ = try martlet.get("/last")
    try eventually("the last one comes") {
      try collector.spans().contains { $0["url.path"] == "/last" }
    }
    #expect(try collector.spans().first?["url.path"] == "/first")
    #expect(martlet.log.components(separatedBy: "traces can't be sent").count == 2)
    let dropped = try metric("martlet_spans_dropped_total", martlet)
    try eventually("all others were sent") {
      try metric("martlet_spans_sent_total", martlet) == 2 * 102 - dropped
    }

    // Spans that it never accepts are dropped.
    try collector.folder.write("400", to: "busy")
    _ = try martlet.get("/refused")
    try eventually("it is counted") { try metric("martlet_spans_refused_total", martlet) == 2 }
  }

  @Test func `a reload turns traces on and off, and the last ones are sent at the end`() throws {
    let (collector, stub) = (try Collector(), try StubBackend())
    func configuration(_ rest: String) -> String {
      MartletProcess.configuration(backends: [stub], rest: #""watch": false"# + rest)
    }
    let martlet = try MartletProcess(configuration(""), ["--workers", "1"])
    _ = try martlet.get("/", Self.sampled)
    #expect(stub.lastRequest?["traceparent"] == "00-\(Self.trace)-00f067aa0ba902b7-01")
    #expect(!threads(of: martlet).contains("traces"))

    try martlet.reload(configuration(", " + tracing(collector)))
    // A thread names itself after it has started.
    eventually("the thread starts") { threads(of: martlet).contains("traces") }
    try eventually("a span comes") {
      _ = try martlet.get("/on")
      return try !collector.spans().isEmpty
    }
    // If only the sample changes, the same thread continues.
    try martlet.reload(configuration(", " + tracing(collector, #", "sample": 0.5"#)))
    #expect(threads(of: martlet).filter { $0 == "traces" }.count == 1)

    try martlet.reload(configuration(""))
    eventually("the thread ends") { !threads(of: martlet).contains("traces") }
    try martlet.reload(configuration(", " + tracing(collector)))
    try eventually("the worker has heard of it") {
      _ = try martlet.get("/")
      return stub.lastRequest?["traceparent"] != nil
    }
    _ = try martlet.get("/end")
    #expect(try martlet.terminate() == 0)
    #expect(try collector.spans().contains { $0["url.path"] == "/end" })
  }

  private func threads(of martlet: MartletProcess) -> [String] {
    let folder = "/proc/\(martlet.process.id)/task"
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return tasks.compactMap { task in
      try? String(contentsOfFile: "\(folder)/\(task)/comm", encoding: .utf8)
        .trimmingCharacters(in: .newlines)
    }
  }
}
