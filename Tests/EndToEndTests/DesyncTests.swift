// The desync modes of the real binary: what a client, a backend and the access log get.

import Foundation
import Testing

@Suite(.serialized) struct DesyncTests {
  /// An error in a request, and what the backend gets instead of it.
  static let faults = [
    ("X : y\r\n", "space-before-colon"), ("X: a\r\n b\r\n", "obs-fold"),
    ("X(y): z\r\n", "bad-field-name"),
    ("Content-Length: 2\r\nContent-Length: 2\r\n", "repeated-content-length"),
  ]

  private func request(_ fault: String) -> String {
    let length = fault.contains("Content-Length") ? "" : "Content-Length: 2\r\n"
    return "POST /first HTTP/1.1\r\nHost: localhost\r\n\(length)\(fault)\r\nab"
  }

  private let next = "GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n"

  @Test(arguments: faults)
  func `strict refuses, names the reason, and forwards nothing`(
    _ fault: String, _ reason: String
  ) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(request(fault) + next)
    let answer = try wire.takeResponse()
    #expect(answer.status == 400 && answer["Connection"] == "close")
    #expect(wire.endsQuietly())
    #expect(stub.requests.isEmpty)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] as? String == reason && line["tolerated"] == nil)
  }

  @Test(arguments: faults, ["defensive", "monitor"])
  func `the other modes repair, answer, and close before the next request`(
    _ fault: (String, String), _ mode: String
  ) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], listener: #""desync": "\#(mode)""#)
    let wire = try martlet.wire()
    try wire.send(request(fault.0) + next)
    let answer = try wire.takeResponse()
    #expect(answer.status == 200 && answer["Connection"] == "close")
    #expect(wire.endsQuietly())
    let forwarded = try #require(stub.lastRequest)
    #expect(stub.requests.count == 1 && forwarded.line == "POST /first HTTP/1.1")
    #expect(forwarded["Content-Length"] == "2" && forwarded.text == "ab")
    #expect(forwarded.fields.allSatisfy { !$0.name.hasSuffix(" ") && !$0.name.contains("(") })
    if fault.1 == "obs-fold" { #expect(forwarded["X"] == "a   b") }
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] == nil && line["status"] as? Int == 200)
    #expect(line["tolerated"] as? [String] == (mode == "monitor" ? [fault.1] : nil))
  }

  @Test(arguments: [
    ("Transfer-Encoding : chunked\r\n", "space-before-colon"),
    ("Transfer-Encoding:\r\n chunked\r\n", "obs-fold"),
    ("Content-Length: 3\r\n", "differing-content-lengths"),
    ("Transfer-Encoding: chunked\r\n", "content-length-with-transfer-encoding"),
    ("X: y\n", "bare-line-feed"),
  ])
  func `an error that could move a message boundary is refused in monitor mode too`(
    _ fault: String, _ reason: String
  ) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], listener: #""desync": "monitor""#)
    let wire = try martlet.wire()
    try wire.send(
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\(fault)\r\nab" + next)
    #expect(try wire.takeResponse().status == 400)
    #expect(wire.endsQuietly())
    #expect(stub.requests.isEmpty)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] as? String == reason)
  }

  @Test func `an answer of Martlet's own closes after a tolerated request as well`() throws {
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(try freePort())"], pool: #""health": "off""#,
      listener: #""desync": "defensive""#)
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n" + next)
    let answer = try wire.takeResponse()
    #expect(answer.status == 502 && answer["Connection"] == "close")
    #expect(wire.endsQuietly())
  }

  @Test func `a valid request keeps its connection in every mode`() throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(backends: [stub], listener: #""desync": "monitor""#)
    let wire = try martlet.wire()
    #expect(try wire.get("/1").text == "ok")
    #expect(try wire.get("/2").text == "ok")
    #expect(try martlet.accessLines(atLeast: 2).allSatisfy { $0["tolerated"] == nil })
  }

  @Test(arguments: ["defensive", "monitor"])
  func `a target that isn't ASCII is escaped on its way to the backend`(_ mode: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], listener: #""desync": "\#(mode)""#,
      rest: #""routes": [{}, { "path": "/a", "redirect": { "host": "b" } }]"#)
    let wire = try martlet.wire()
    let answer = try wire.get("/straße?q=café")
    #expect(answer.status == 200 && answer["Connection"] == "close")
    #expect(stub.lastRequest?.target == "/stra%C3%9Fe?q=caf%C3%A9")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["target"] as? String == "/straße?q=café")
    #expect(line["tolerated"] as? [String] == (mode == "monitor" ? ["target-not-ascii"] : nil))
    #expect(try martlet.get("/a/ä?ö")["Location"] == "http://b/a/%C3%A4?%C3%B6")
  }

  @Test func `strict refuses a target that isn't ASCII by its name`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    #expect(try martlet.get("/straße").status == 400)
    #expect(stub.requests.isEmpty)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] as? String == "target-not-ascii")
  }

  @Test func `the log contains the reason why a chunked body is refused`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "2;x\nab\r\n0\r\n\r\n")
    #expect(answer.status == 400)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "malformed-body")
    #expect(line["reason"] as? String == "bare-line-feed")
  }
}
