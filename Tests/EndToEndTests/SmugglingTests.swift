// Attacks on the real binary: no backend gets a request that Martlet didn't intend to send, and no
// client gets another's response.

import Foundation
import Testing

@Suite(.serialized) struct SmugglingTests {
  private static let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
  private static let chunks = "0\r\n\r\n" + smuggled

  private static func post(_ lines: String, _ body: String, version: String = "1.1") -> String {
    "POST / HTTP/\(version)\r\nHost: localhost\r\n\(lines)\r\n\(body)"
  }

  private static func chunked(_ body: String) -> String {
    post("Transfer-Encoding: chunked\r\n", body + smuggled)
  }

  /// Each is refused completely, in every mode.
  private static let attacks: [(String, String)] = [
    (
      post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", chunks),
      "content-length-with-transfer-encoding"
    ),
    (
      post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "2e\r\n\(smuggled)\r\n0\r\n\r\n"),
      "content-length-with-transfer-encoding"
    ),
    (post("Content-Length: 0\r\nContent-Length: 44\r\n", smuggled), "differing-content-lengths"),
    (post("Content-Length: 0, 44\r\n", smuggled), "differing-content-lengths"),
    (post("Content-Length: +0\r\n", smuggled), "bad-content-length"),
    (post("Content-Length: 0x2c\r\n", smuggled), "bad-content-length"),
    (post("Transfer-Encoding: xchunked\r\n", chunks), "transfer-encoding-not-chunked"),
    (post("Transfer-Encoding: chunked, identity\r\n", chunks), "transfer-encoding-not-chunked"),
    (post("Transfer-Encoding: identity, chunked\r\n", chunks), "unknown-transfer-coding"),
    (post("Transfer-Encoding : chunked\r\n", chunks), "space-before-colon"),
    (post("Transfer-Encoding: \u{B}chunked\r\n", chunks), "control-character"),
    (post("Transfer-Encoding:\r\n chunked\r\n", chunks), "obs-fold"),
    (post("X: y\r\n Transfer-Encoding: chunked\r\n", chunks), "obs-fold"),
    (post("X: y\nTransfer-Encoding: chunked\r\n", chunks), "bare-line-feed"),
    (post("X: y\rTransfer-Encoding: chunked\r\n", chunks), "bare-carriage-return"),
    (post("X: y\r\n\n", smuggled), "bare-line-feed"),
    (post("X: y\0z\r\n", smuggled), "control-character"),
    (post("Transfer-Encoding: chunked\r\n", chunks, version: "1.0"), "transfer-encoding-in-http10"),
    (chunked("0;x\n\r\n\r\n"), "bare-line-feed"),
    (chunked("0\n\r\n"), "bare-line-feed"),
    (chunked("0 \r\n\r\n"), "bad-chunk-size"),
    (chunked("1\r\nxy\r\n0\r\n\r\n"), "bad-chunk-end"),
    (chunked("0\r\nX: y\n\r\n"), "bare-line-feed"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + smuggled, "duplicate-host"),
    ("GET / HTTP/1.1\r\n\r\n" + smuggled, "missing-host"),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, "bad-target"),
    ("GET /\r\n\r\n" + smuggled, "bad-request-line"),
  ]

  @Test(arguments: ["strict", "defensive", "monitor"])
  func `an attack is refused by name, and nothing after it is read`(_ mode: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], listener: #""desync": "\#(mode)""#)
    for (attack, _) in Self.attacks {
      let wire = try martlet.wire()
      try wire.send(attack)
      let answer = try wire.takeResponse()
      #expect([400, 501].contains(answer.status), "\(attack.debugDescription)")
      #expect(answer["Connection"] == "close", "\(attack.debugDescription)")
      // A second response would be for the smuggled request.
      #expect(wire.endsQuietly(), "\(attack.debugDescription)")
    }
    let lines = try martlet.accessLines(atLeast: Self.attacks.count)
    // Workers write independently of each other.
    let reasons = lines.compactMap { $0["reason"] as? String }
    #expect(reasons.sorted() == Self.attacks.map(\.1).sorted())
    // Heads with chunked bodies may have been forwarded; the requests after them never are.
    #expect(stub.requests.allSatisfy { $0.target == "/" && $0.method == "POST" })
  }

  @Test func `a body that looks like a request is forwarded as a body`() throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let count = Self.smuggled.utf8.count
    try wire.send(
      "GET /first HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(count)\r\n\r\n"
        + Self.smuggled + "GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n")
    #expect(try wire.takeResponse().text == "ok")
    #expect(try wire.takeResponse().text == "ok")
    _ = stub.lastRequest
    #expect(stub.requests.map(\.target) == ["/first", "/second"])
    #expect(stub.requests[0].text == Self.smuggled)
    #expect(stub.requests[0]["Content-Length"] == "\(count)")
  }

  @Test func `a second answer to one request is sent to no client`() throws {
    // A backend that takes a body for a separate request (CL.0).
    let stub = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
      try wire.send(answer + "one" + (request.method == "POST" ? answer + "two" : ""))
      return true
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#, flags: ["--workers", "1"])
    let body = Self.smuggled
    for _ in 0..<20 {
      let answer = try martlet.answer(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
      #expect(answer.text == "one")
      #expect(try martlet.get("/next").text == "one")
    }
  }

  @Test func `requests pipelined after a close are never read`() throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(
      "GET /first HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + Self.smuggled)
    #expect(try wire.takeResponse().text == "ok")
    #expect(wire.endsQuietly())
    #expect(stub.requests.map(\.target) == ["/first"])
  }
}
