// Upgrade requests with more than a browser sends: a length of zero (the JDK's WebSocket client), a
// body (docker exec and attach), a protocol with a version (kubectl exec).

import Foundation
import Testing

@Suite(.serialized) struct ProtocolUpgradeTests {
  /// Reads the whole request, switches, and then returns all input in capital letters.
  private static func switching(to name: String) throws -> StubBackend {
    try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      guard request["Upgrade"]?.lowercased() == name.lowercased() else {
        try wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return true
      }
      try wire.send(
        "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: \(name)\r\n"
          + "Content-Type: application/vnd.docker.raw-stream\r\n\r\n")
      let said = String(decoding: try wire.takeRest(), as: UTF8.self)
      try wire.send(said.uppercased())
      return false
    }
  }

  static let framings = [
    ("Content-Length: 0\r\n", ""), ("Content-Length: 13\r\n", #"{"Tty": true}"#),
    ("Transfer-Encoding: chunked\r\n", "d\r\n{\"Tty\": true}\r\n0\r\n\r\n"),
  ]

  @Test(arguments: framings, [true, false])
  func `a request with a length or a body upgrades, and its body arrives before the relay begins`(
    _ framing: (String, String), _ isCollected: Bool
  ) throws {
    let stub = try Self.switching(to: "tcp")
    let limits = #""limits": { "collect-size": "\#(isCollected ? "16KiB" : "0B")" }"#
    let martlet = try MartletProcess(
      backends: [stub], rest: #""upgrades": ["tcp"], "# + limits)
    let wire = try martlet.wire()
    try wire.send(
      "POST /exec/1/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        + framing.0 + "\r\n" + framing.1 + "early ")
    let head = try wire.takeHead()
    #expect(head.status == 101 && head["Upgrade"] == "tcp")
    #expect(head["Content-Type"] == "application/vnd.docker.raw-stream")
    try wire.send("and late")
    wire.finishSending()
    #expect(String(decoding: try wire.takeRest(), as: UTF8.self) == "EARLY AND LATE")
    let request = try #require(stub.lastRequest)
    #expect(request.text == (framing.1.isEmpty ? "" : #"{"Tty": true}"#))
    #expect(request["Connection"] == "upgrade")
  }

  @Test func `a protocol with a version is passed on as it is`() throws {
    let stub = try Self.switching(to: "SPDY/3.1")
    let martlet = try MartletProcess(backends: [stub], rest: #""upgrades": ["SPDY/3.1"]"#)
    let wire = try martlet.wire()
    try wire.send(
      "POST /exec HTTP/1.1\r\nHost: kube\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        + "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n")
    #expect(try wire.takeHead()["Upgrade"] == "SPDY/3.1")
    try wire.send("x")
    wire.finishSending()
    #expect(String(decoding: try wire.takeRest(), as: UTF8.self) == "X")
    #expect(try martlet.get("/", "Connection: upgrade\r\nUpgrade: SPDY/3\r\n").status == 400)
  }

  @Test func `a 101 before the body has come gets 502, and the backend isn't blamed for it`() throws
  {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
      _ = try wire.takeRest()
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""ejection": { "failures": 1 }"#,
      rest: #""upgrades": ["tcp"], "limits": { "collect-size": "0B" }"#)
    for number in 1...3 {
      let wire = try martlet.wire()
      try wire.send(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
          + "Content-Length: 5\r\n\r\nab")
      #expect(try wire.takeResponse().status == 502)
      let line = try #require(try martlet.accessLines(atLeast: number).last)
      #expect(line["failure"] as? String == "bad-response")
      #expect(line["reason"] as? String == "early-upgrade")
    }
    #expect(!martlet.log.contains("ejected"))
  }

  @Test func `bytes after the body of a refused upgrade are the next request`() throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(
      "POST /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + "Content-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try wire.takeResponse().text == "ok")
    #expect(try wire.takeResponse().text == "ok")
    #expect(stub.requests.map(\.target) == ["/1", "/2"])
  }
}
