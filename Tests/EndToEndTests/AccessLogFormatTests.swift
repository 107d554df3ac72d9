// The access log of the real binary in each format, and the ids of requests.

import Foundation
import Testing

@Suite struct AccessLogFormatTests {
  private func martlet(
    _ stub: StubBackend, log: String, rest: String = #""via": true"#
  ) throws -> MartletProcess {
    try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
        "log": { \(log), "target": "access.log" }, \(rest) }
      """, keeping: [stub])
  }

  private func lines(_ martlet: MartletProcess, atLeast count: Int) -> [String] {
    var lines: [String] = []
    eventually("there are \(count) lines") {
      lines = martlet.folder.lines(of: "access.log").map(String.init)
      return lines.count >= count
    }
    return lines
  }

  // MARK: Formats

  @Test func `the combined format can be read by programs for nginx's logs`() throws {
    let martlet = try martlet(try StubBackend("hello"), log: #""access": "combined""#)
    _ = try martlet.get("/a?b=\"c\\d", "User-Agent: x\"\u{e9}\r\nReferer: http://r/\r\n")
    let line = try #require(lines(martlet, atLeast: 1).first)
    let pattern =
      /127\.0\.0\.1 - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] (".*)/
    let match = try #require(try pattern.wholeMatch(in: line), "\(line)")
    #expect(
      match.1
        == #""GET /a?b=\x22c\x5Cd HTTP/1.1" 200 5 "http://r/" "x\x22\xC3\xA9""#)
  }

  @Test func `a custom template is filled in, with a dash for unknown values`() throws {
    let stub = try StubBackend("hello")
    let martlet = try martlet(
      stub, log: #""access": "${method}_$target $status $backend/$attempts $failure $$ $tls""#)
    _ = try martlet.get("/x")
    #expect(lines(martlet, atLeast: 1) == ["GET_/x 200 \(stub.address)/1 - $ -"])
  }

  @Test func `a line has route, pool, port, name of the handshake and split times`() throws {
    let certificates = try Certificates()
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      backends: [stub], pool: #""name": "app""#,
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#,
      rest: #"""
        "routes": [
          { "path": "/a", "forward": "app" },
          { "path": "/b", "respond": { "status": 200, "body": "b" } }]
        """#)
    for path in ["a/x", "b", "none"] {
      let address = "https://localhost:\(martlet.port)/\(path)"
      let curl = try run(["curl", "-sS", "--cacert", certificates.authority, address])
      #expect(curl.status == 0, "\(curl)")
    }
    let lines = try martlet.accessLines(atLeast: 3)
    for line in lines {
      #expect(line["sni"] as? String == "localhost")
      #expect(try #require(line["client_port"] as? Int) > 1023)
      #expect(try #require(line["ms"] as? Double) > 0)
    }
    #expect(lines.map { $0["route"] as? String } == ["*/a", "*/b", nil])
    #expect(lines.map { $0["pool"] as? String } == ["app", nil, nil])
    let total = try #require(lines[0]["ms"] as? Double)
    let firstByte = try #require(lines[0]["first_byte_ms"] as? Double)
    let connect = try #require(lines[0]["connect_ms"] as? Double)
    #expect(0 < connect && connect < firstByte && firstByte <= total)
  }

  @Test func `a template has the same names`() throws {
    let stub = try StubBackend("hello")
    let martlet = try martlet(
      stub,
      log: #""access": "$route $pool $client_port $sni $connect_ms $first_byte_ms $queued_ms $ms""#)
    let wire = try martlet.wire()
    _ = try wire.get("/x")
    _ = try wire.get("/x")
    let lines = lines(martlet, atLeast: 2)
    let time = #"\d+\.\d{3}"#
    let first = try Regex(#"\*/ default \d+ - \#(time) \#(time) 0\.000 \#(time)"#)
    let reused = try Regex(#"\*/ default \d+ - - \#(time) 0\.000 \#(time)"#)
    #expect(try first.wholeMatch(in: lines[0]) != nil, "\(lines)")
    #expect(try reused.wholeMatch(in: lines[1]) != nil, "\(lines)")
  }

  @Test func `a request that came too slowly says how long it was waited for`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub], rest: #""limits": { "head": "300ms" }"#)
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\n")
    #expect(try wire.takeResponse().status == 408)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "request-timeout")
    #expect(try #require(line["ms"] as? Double) >= 290)
  }

  @Test func `a name that doesn't exist is refused where it stands, with the nearest one`() throws {
    let folder = TemporaryFolder()
    try folder.write(
      #"{ "pools": [{ "backends": ["a:1"] }], "log": { "access": "$time \"$staus" } }"#,
      to: "config.json")
    let check = try run([Installation.binary, "check", "config.json"], in: folder.path)
    #expect(check.status == 1)
    #expect(check.errors.contains("config.json:1:67: error: log.access: there is no $staus;"))
    #expect(check.errors.contains("(did you mean $status?)"))
  }

  @Test func `a reload changes the format`() throws {
    let stub = try StubBackend("hello")
    let martlet = try martlet(stub, log: #""access": "$status""#)
    _ = try martlet.get("/")
    _ = lines(martlet, atLeast: 1)
    try martlet.reload(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
        "log": { "access": "now $status", "target": "access.log" } }
      """)
    // Workers apply it between two loop iterations.
    try eventually("the new format is used") {
      _ = try martlet.get("/")
      return martlet.folder.read("access.log").contains("now 200")
    }
  }

  // MARK: What is logged

  @Test func `successful requests are sampled, and all failed ones are logged`() throws {
    let martlet = try martlet(
      try StubBackend("hello"), log: #""access": "$target $status $sample", "sample": 5"#,
      rest: #""workers": 1, "routes": [{ "path": "/ok" }]"#)
    let wire = try martlet.wire()
    for _ in 0..<11 { #expect(try wire.get("/ok").status == 200) }
    for _ in 0..<3 { #expect(try wire.get("/none").status == 404) }
    let all = lines(martlet, atLeast: 6)
    #expect(
      all == Array(repeating: "/ok 200 5", count: 3) + Array(repeating: "/none 404 1", count: 3))
  }

  @Test func `with a sample of 0 only errors and what is slow is logged`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path("go"))
    let martlet = try martlet(
      stub, log: #""access": "$target $status", "sample": 0, "slow": "1ms""#)
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try wire.takeHead()
    let start = ContinuousClock.now
    // The head arrives at once. A request is slow if its end is late, so wait before the end.
    eventually("two milliseconds have passed") {
      start.duration(to: .now) > .milliseconds(2)
    }
    try folder.write("", to: "go")
    _ = try wire.take(10)
    #expect(lines(martlet, atLeast: 1).first == "/slow 200")
  }

  @Test func `values of secret parameters are neither in targets nor in referers`() throws {
    let stub = try StubBackend("hello")
    let martlet = try martlet(
      stub, log: #""access": "$target $referer", "redact-query": ["token", "Key"]"#)
    _ = try martlet.get(
      "/a?x=1&TOKEN=abc&tok%65n=def;key=&y=token", "Referer: http://r/?key=ghi#token=jkl\r\n")
    _ = try martlet.get("/token=abc?tokens=1&token")
    let expected = [
      "/a?x=1&TOKEN=REDACTED&tok%65n=REDACTED;key=&y=token "
        + "http://r/?key=REDACTED#token=REDACTED",
      "/token=abc?tokens=1&token -",
    ]
    #expect(lines(martlet, atLeast: 2).sorted() == expected.sorted())
    // The backend gets the request unchanged.
    #expect(stub.requests.contains { $0.target.contains("TOKEN=abc&tok%65n=def;key=") })
  }

  // MARK: Ids

  @Test func `each request gets a unique id, for the backend and the log`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let answer = try wire.get("/1")
    #expect(answer["X-Request-ID"] == nil)
    _ = try wire.get("/2")
    let ids = stub.requests.flatMap { $0[all: "X-Request-ID"] }
    #expect(ids.count == 2 && Set(ids).count == 2)
    for id in ids { #expect(id.wholeMatch(of: /[0-9a-f]{32}/) != nil, "\(id)") }
    let logged = try martlet.accessLines(atLeast: 2).compactMap { $0["request_id"] as? String }
    #expect(logged == ids)
  }

  @Test(arguments: [
    ("X-Request-ID: abc-123\r\n", true), ("x-request-id: a b\r\n", false),
    ("X-Request-ID: a\r\nX-Request-ID: b\r\n", false), ("X-Request-ID:\r\n", false),
    ("X_Request_ID: abc-123\r\n", false),
    ("X-Request-ID: \(String(repeating: "x", count: 129))\r\n", false),
    ("X-Request-ID: \(String(repeating: "x", count: 128))\r\n", true),
    ("X-Request-ID: abc\r\nConnection: X-Request-ID\r\n", true),
  ])
  func `a client's own id is kept if it is valid`(_ fields: String, isKept: Bool) throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      backends: [stub], rest: #""request-id": "return""#)
    let answer = try martlet.get("/", fields)
    let request = try #require(stub.requests.first)
    let ids = request[all: "X-Request-ID"]
    #expect(ids.count == 1)
    #expect(answer["X-Request-ID"] == ids.first)
    let sent = fields.split(separator: "\r\n").first?.split(separator: " ").last.map(String.init)
    #expect((ids.first == sent) == isKept)
    #expect(request[all: "X_Request_ID"] == [])
  }

  @Test func `Martlet's own answers return the id too`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      MartletProcess.configuration(
        backends: [dead], pool: #""health": "off""#,
        rest: #""request-id": "return", "routes": [{ "path": "/a" }]"#), keeping: [])
    #expect(try martlet.get("/a", "X-Request-ID: one\r\n")["X-Request-ID"] == "one")
    #expect(try martlet.get("/b", "X-Request-ID: two\r\n")["X-Request-ID"] == "two")
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(Set(lines.compactMap { $0["request_id"] as? String }) == ["one", "two"])
  }

  @Test func `switched off, nothing is added`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub], rest: #""request-id": "off""#)
    _ = try martlet.get("/")
    let request = try #require(stub.requests.first)
    #expect(request[all: "X-Request-ID"] == [])
    #expect(try martlet.accessLines(atLeast: 1)[0]["request_id"] == nil)
  }

  @Test(arguments: [
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
    ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
    ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
    ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
    ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
    ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false), ("x", false),
  ])
  func `a trace is passed on as it is, and the log names a valid one`(
    _ parent: String, isValid: Bool
  ) throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    _ = try martlet.get("/", "traceparent: \(parent)\r\n")
    #expect(stub.requests.first?[all: "traceparent"] == [parent])
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["trace_id"] as? String == (isValid ? "4bf92f3577b34da6a3ce929d0e0e4736" : nil))
  }
}
