// Active checks: what they send, where, and which responses pass.

import Foundation
import Testing

@Suite(.serialized) struct HealthCheckTests {
  private static let pace = #""interval": "100ms", "fast-interval": "100ms", "rise": 1, "fall": 1"#

  /// A pool that serves only after a passed check, with these additional keys of `health`.
  private func pool(_ keys: String) -> String {
    #""health": { "check": "http", "initially": "down", \#(Self.pace), \#(keys) }"#
  }

  private func serves(_ martlet: MartletProcess) -> Bool {
    (try? martlet.get().status) == 200
  }

  @Test func `a check of a Unix socket names localhost`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend(socket: folder.path("app.sock")) { request, wire in
      // As servers refuse a Host without a valid host (RFC 9112 3.2).
      let isValid = request.target != "/health" || request["Host"] == "localhost"
      let status = isValid ? "200 OK" : "400 Bad Request"
      try wire.send("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub], pool: pool(#""path": "/health""#))
    eventually("it is up") { serves(martlet) }
  }

  @Test(arguments: [
    ["HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    [
      String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 16),
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
  ])
  func `interim answers don't fail a check, even in one segment with the final one`(
    _ segments: [String]
  ) throws {
    let stub = try StubBackend { _, wire in
      for segment in segments { try wire.send(segment) }
      return true
    }
    let martlet = try MartletProcess(backends: [stub], pool: pool(#""path": "/health""#))
    eventually("it is up") { serves(martlet) }
  }

  @Test func `a flood of interim answers fails the check, and doesn't disturb other clients`()
    throws
  {
    let interim = String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 1000)
    let stub = try StubBackend { request, wire in
      // Until Martlet closes the connection.
      while (try? wire.send(interim)) != nil {}
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub],
      pool: #""health": { "check": "http", "path": "/health", "timeout": "5m", \#(Self.pace) }"#,
      rest: #""routes": [{}, { "path": "/ping", "respond": { "status": 200 } }]"#,
      flags: ["--workers", "1"])
    eventually("the check has failed") { martlet.log.contains("backend down") }
    #expect(try martlet.get("/ping").status == 200)
  }

  @Test(arguments: ["drain --wait", "reload"])
  func `a backend that hangs is taken out while changes come faster than its timeout`(
    _ change: String
  ) throws {
    let folder = TemporaryFolder()
    let hung = try StubBackend { request, wire in
      if request.target != "/health" {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return true
      }
      // It waits for the end of the connection.
      while try wire.receive() {}
      return false
    }
    let busy = try StubBackend.halving(until: folder.path("go"))
    let martlet = try MartletProcess(
      backends: [hung, busy, try StubBackend("other")],
      pool: #""health": { "check": "http", "path": "/health", "timeout": "3s", \#(Self.pace) }"#)
    var wires: [Wire] = []
    var drain: ChildProcess?
    if change == "reload" {
      eventually("it is down") {
        try? martlet.reload(martlet.folder.read("config.json"))
        return martlet.log.contains("backend down")
      }
    } else {
      // One of them is sent to the busy backend.
      for _ in 0..<3 {
        let wire = try martlet.wire()
        try wire.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = try wire.takeHead()
        wires.append(wire)
      }
      drain = try MartletProcess.start(
        ["drain", "--wait", "default/\(busy.address)"], in: martlet.folder)
      eventually("it is down") { martlet.log.contains("backend down") }
      #expect(drain?.isRunning == true)
      // A repeated request is logged once.
      let message = "an operator changed a backend"
      #expect(martlet.log.components(separatedBy: message).count == 2)
    }
    try folder.write("", to: "go")
    #expect(try drain?.waitForExit() ?? 0 == 0)
  }

  @Test(arguments: [
    "Content-Length: many", "Content-Length: 1\r\nContent-Length: 2",
    "Content-Length: 2\r\nTransfer-Encoding: chunked",
  ])
  func `an answer whose length can't be read fails the check, as it fails requests`(
    _ fields: String
  ) throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\n\(fields)\r\n\r\nok")
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub],
      pool: #""health": { "check": "http", "path": "/health", \#(Self.pace) }"#)
    eventually("it is down") { martlet.log.contains("backend down") }
  }

  @Test func `backends are checked at the configured port`() throws {
    let app = try StubBackend("app")
    let management = try StubBackend("healthy")
    let martlet = try MartletProcess(
      backends: [app], pool: pool(#""path": "/health", "port": \#(management.port)"#))
    eventually("it is up") { serves(martlet) }
    #expect(management.requests.first?.target == "/health")
    #expect(management.requests.first?["Host"] == "127.0.0.1:\(management.port)")
    #expect(app.requests.allSatisfy { $0.target == "/" })
  }

  @Test func `a failed check says why, in the log and in the state`() throws {
    let refusing = "127.0.0.1:\(try freePort())"
    let failing = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
      return true
    }
    let silent = try StubBackend { _, _ in true }
    let garbled = try StubBackend { _, wire in
      try wire.send("220 mail.example.org ESMTP\r\n\r\n")
      return true
    }
    let speaksTLS = try StubBackend { _, wire in
      // A fatal alert, as a server sends it that got plain HTTP: unexpected_message.
      try wire.send("\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}\u{A}")
      return false
    }
    let martlet = try MartletProcess(
      backends: [refusing, failing, silent, garbled, speaksTLS],
      pool: #"""
        "health": { "check": "http", "timeout": "200ms", "expect": "200-299", \#(Self.pace) }
        """#)
    let reasons = [
      (refusing, "connect-refused", "connect-refused"),
      (failing.address, "status", "status 503, expected 200-299"),
      (silent.address, "response-timeout", "timeout after 200ms"),
      (garbled.address, "bad-response", "bad-response: not a valid HTTP/1.1 response"),
      (speaksTLS.address, "bad-response", "bad-response: a TLS alert; this port expects HTTPS"),
    ]
    for (address, _, reason) in reasons {
      let quoted = reason.contains(" ") ? "reason=\"\(reason)\"" : "reason=\(reason)"
      eventually("\(address) is down") {
        martlet.log.split(separator: "\n").contains {
          $0.contains("backend down") && $0.contains(address) && $0.contains(quoted)
        }
      }
    }
    let socket = martlet.folder.path("admin.sock")
    let state = try run(["curl", "-sS", "--unix-socket", socket, "http://localhost/v1/state"])
      .output
    let object = try JSONSerialization.jsonObject(with: Data(state.utf8)) as? [String: Any]
    let pool = try #require((object?["pools"] as? [[String: Any]])?.first)
    let backends = try #require(pool["backends"] as? [[String: Any]])
    for (address, word, reason) in reasons {
      let backend = try #require(backends.first { $0["address"] as? String == address })
      let check = try #require(backend["last_check"] as? [String: Any])
      #expect(check["result"] as? String == word)
      #expect(check["reason"] as? String == reason)
      #expect(check["passed"] as? Bool == false)
      #expect(try #require(check["at"] as? Double) > 1_700_000_000)
    }
  }
}
