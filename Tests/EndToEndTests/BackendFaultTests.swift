// Responses that HTTP/1.1 doesn't allow, or that exceed Martlet's limits: what the client gets,
// what the log and the metrics contain, and which side is blamed.

import Foundation
import Testing

@Suite(.serialized) struct BackendFaultTests {
  /// Responds with these bytes to every request.
  private func answering(_ bytes: String, closes: Bool = false) throws -> StubBackend {
    try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send(bytes)
      return !closes
    }
  }

  static let faults: [(String, String, Bool)] = [
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2   \r\nok\r\n0 \r\n\r\n",
      "blank-after-chunk-size", false
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "2\r\nok\r\n0\r\n\r\n", "repeated-chunked", false
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", "identity-coding", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\n b\r\n\r\nok", "obs-fold", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nstray line\r\n\r\nok", "missing-colon", false),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX(y): z\r\n\r\nok", "bad-field-name", false),
    ("HTTP/1.0 200 OK\nContent-Length: 2\n\nok", "bare-line-feed", true),
  ]

  @Test(arguments: faults)
  func `strict refuses, with the reason`(_ fault: (String, String, Bool)) throws {
    let stub = try answering(fault.0, closes: fault.2)
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    // An error within the body is found after the head was forwarded.
    let head = try wire.takeHead()
    #expect(head.status == (fault.1 == "blank-after-chunk-size" ? 200 : 502))
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "bad-response")
    #expect(line["reason"] as? String == fault.1)
  }

  @Test(arguments: faults)
  func `tolerant repairs, counts and logs, and doesn't reuse the connection`(
    _ fault: (String, String, Bool)
  ) throws {
    let stub = try answering(fault.0, closes: fault.2)
    let martlet = try MartletProcess(
      backends: [stub], pool: #""desync": "tolerant", "health": "off""#,
      rest: #""workers": 1, "admin": { "listen": "127.0.0.1:0" }"#)
    let wire = try martlet.wire()
    for _ in 1...2 {
      let answer = try wire.get()
      #expect(answer.status == 200 && answer.text == "ok")
      #expect(answer.fields.allSatisfy { !$0.name.contains("(") && !$0.name.contains("stray") })
    }
    #expect(stub.connectionCount == 2)
    for line in try martlet.accessLines(atLeast: 2) {
      #expect(line["response_tolerated"] as? [String] == [fault.1])
      #expect(line["failure"] == nil && line["tolerated"] == nil)
    }
    let metrics = try Wire(port: try martlet.adminPort()).get("/metrics").text
    let counter = "martlet_responses_tolerated_total{reason=\"\(fault.1)\"} 2\n"
    #expect(metrics.contains(counter))
  }

  @Test(arguments: [
    ("HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok", "bare-line-feed"),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
      "content-length-with-transfer-encoding"
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length 2\r\n\r\nok", "missing-colon"),
  ])
  func `an error that could move a message boundary gets 502 from a tolerant pool too`(
    _ bytes: String, _ reason: String
  ) throws {
    let stub = try answering(bytes)
    let martlet = try MartletProcess(backends: [stub], pool: #""desync": "tolerant""#)
    #expect(try martlet.get().status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] as? String == reason)
  }

  @Test func `a health check tolerates what the pool tolerates`() throws {
    let stub = try answering("HTTP/1.0 200 OK\nContent-Length: 2\n\nok", closes: true)
    let martlet = try MartletProcess(
      backends: [stub],
      pool:
        #"""
        "desync": "tolerant",
        "health": { "check": "http", "initially": "down", "fast-interval": "100ms" }
        """#
    )
    try eventually("it is up") { try martlet.get().status == 200 }
  }

  // MARK: Sizes

  private static func head(fields: Int, size: Int) -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
      + (0..<fields).map { "Set-Cookie: c\($0)=" + String(repeating: "x", count: size) + "\r\n" }
      .joined() + "\r\nok"
  }

  @Test(arguments: [(500, 10), (1, 60_000)])
  func `response heads may be larger than request heads`(_ fields: Int, _ size: Int) throws {
    let stub = try answering(Self.head(fields: fields, size: size))
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.get()
    #expect(answer.status == 200 && answer[all: "Set-Cookie"].count == fields)
  }

  /// A page that copies the client's input into a field.
  static let reflections = [
    ("x", 70_000, "head-too-large"), ("x\r\nA: ", 1001, "too-many-fields"),
    ("\u{1}", 1, "control-character"), ("a\nb", 1, "bare-line-feed"),
    ("a\rb", 1, "bare-carriage-return"), ("a\r\n b", 1, "obs-fold"),
    ("a\r\nb c: d", 1, "bad-field-name"), ("a\r\nb", 1, "missing-colon"),
  ]

  @Test(arguments: reflections)
  func `an error that a client can cause isn't blamed on the backend, and is logged by name`(
    _ piece: String, _ count: Int, _ reason: String
  ) throws {
    let value = String(repeating: piece, count: count)
    let stub = try answering("HTTP/1.1 200 OK\r\nSet-Cookie: q=\(value)\r\n\r\n", closes: true)
    let martlet = try MartletProcess(
      backends: [stub, "127.0.0.1:\(try freePort())"],
      pool: #""health": "off", "ejection": { "failures": 1 }, "strategy": "ip-hash""#)
    for number in 1...4 {
      #expect(try martlet.get().status == 502)
      let line = try #require(try martlet.accessLines(atLeast: number).last)
      let attempts = try #require(line["attempts"] as? [[String: Any]])
      // The other one is dead, and is ejected.
      if attempts.contains(where: { $0["backend"] as? String == stub.address }) {
        #expect(line["reason"] as? String == reason)
      }
    }
    #expect(stub.connectionCount >= 3)
  }

  @Test(arguments: ["1;a\nb\r\nx\r\n", "1\rx\r\n", "1;\u{1}\r\nx\r\n"])
  func `a backend whose chunks are broken is ejected`(_ chunks: String) throws {
    let stub = try answering(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, closes: true)
    let martlet = try MartletProcess(
      backends: [stub, try StubBackend("ok")],
      pool: #""health": "off", "ejection": { "failures": 1 }"#)
    eventually("it is ejected") {
      _ = try? martlet.get()
      return martlet.log.contains("backend down: ejected")
    }
  }

  @Test(arguments: [("garbage", true), ("220 mail ready", false), ("\u{15}\u{3}\u{1}", false)])
  func `bytes that aren't the start of a response are a bad response, with or without a line end`(
    _ bytes: String, _ closes: Bool
  ) throws {
    let stub = try answering(bytes, closes: closes)
    let martlet = try MartletProcess(backends: [stub], pool: #""health": "off""#)
    #expect(try martlet.get().status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "bad-response")
    #expect(line["reason"] as? String == "bad-status-line")
  }

  @Test func `an answer that ends within its head is truncated`() throws {
    let stub = try answering("HTTP/1.1 20", closes: true)
    let martlet = try MartletProcess(backends: [stub], pool: #""health": "off""#)
    #expect(try martlet.get().status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "truncated-response")
  }

  @Test(arguments: ["\u{16}\u{3}\u{1}garbage", "SSH-2.0-x\r\n\r\n", "HTTP/3.0 200 OK\r\n\r\n"])
  func `a backend that doesn't speak HTTP is ejected`(_ bytes: String) throws {
    let stub = try answering(bytes, closes: true)
    let other = try StubBackend("ok")
    let martlet = try MartletProcess(
      backends: [stub, other], pool: #""health": "off", "ejection": { "failures": 1 }"#)
    try eventually("it is ejected") {
      _ = try martlet.get()
      return martlet.log.contains("backend down: ejected")
    }
  }

  @Test func `limits of responses have keys, which a reload puts into force`() throws {
    let stub = try answering(Self.head(fields: 30, size: 10))
    let configuration = { (limit: Int) in
      MartletProcess.configuration(
        backends: [stub], rest: #""workers": 1, "limits": { "response-field-count": \#(limit) }"#)
    }
    let martlet = try MartletProcess(configuration(40), keeping: [stub])
    let wire = try martlet.wire()
    #expect(try wire.get().status == 200)
    try martlet.reload(configuration(20))
    // The connection to the backend was kept in between.
    #expect(try wire.get().status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 2).last)
    #expect(line["reason"] as? String == "too-many-fields")
  }
}
