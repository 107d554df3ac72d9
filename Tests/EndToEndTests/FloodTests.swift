// Floods of handshakes, connections, and requests on one connection.

import Foundation
import Testing

@Suite(.serialized) struct FloodTests {
  @Test func `idle handshakes beyond the limit are closed for real clients`() throws {
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"#,
      rest: #""limits": { "handshakes": 4, "handshake": "300s" }"#, flags: ["--workers", "1"])
    var silent: [Wire] = []
    for round in 0..<3 {
      // Up to the limit; the handshake of a real client then replaces the oldest.
      while silent.count < 4 + round { silent.append(try martlet.wire()) }
      let result = try run(
        [
          "curl", "-sS", "--max-time", "20", "--cacert", certificates.authority,
          "https://localhost:\(martlet.port)/",
        ])
      #expect(result.output == "hello", "\(result.errors)")
      #expect(silent[round].endsQuietly())
    }
    for wire in silent[3...] { #expect(wire.isOpen) }
  }

  @Test func `the number of connections per address is limited over all workers`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")], rest: #""limits": { "connections-per-address": 5 }"#,
      flags: ["--workers", "4"])
    var wires: [Wire] = []
    for _ in 0..<5 {
      let wire = try martlet.wire()
      #expect(try wire.get().text == "hello")
      wires.append(wire)
    }
    for _ in 0..<3 { #expect(try martlet.wire().endsQuietly()) }
    #expect(try wires[4].get().text == "hello")
    // Another address counts as another client.
    let other = try run(
      ["curl", "-sS", "--interface", "127.0.0.2", "http://127.0.0.1:\(martlet.port)/"])
    #expect(other.output == "hello", "\(other.errors)")
    wires.removeLast()
    eventually("a place is free again") { (try? martlet.get().text) == "hello" }
  }

  @Test func `a trusted proxy has no limit of connections`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      rest: #""limits": { "connections-per-address": 1 }, "trusted-proxies": ["127.0.0.1"]"#)
    let wires = try (0..<5).map { _ in try martlet.wire() }
    for wire in wires { #expect(try wire.get().text == "hello") }
  }

  @Test func `the total number of connections is limited over all workers`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")], rest: #""limits": { "connections": 6 }"#,
      flags: ["--workers", "4"])
    let wires = try (0..<6).map { _ in
      let wire = try martlet.wire()
      #expect(try wire.get().text == "hello")
      return wire
    }
    #expect(try martlet.wire().endsQuietly())
    for wire in wires { #expect(try wire.get().text == "hello") }
  }

  @Test(arguments: [
    String(repeating: "A: b\r\n", count: 60), "A: " + String(repeating: "b", count: 2000) + "\r\n",
  ])
  func `a head is limited by bytes and fields together`(_ fields: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], rest: #""limits": { "head-size": "2KiB" }"#)
    #expect(try martlet.get("/", fields).status == 431)
    #expect(stub.requests.isEmpty)
    #expect(try martlet.get("/", "A: b\r\n").status == 200)
  }

  @Test func `a body that is mostly chunk extensions is refused`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let chunk = "1;" + String(repeating: "e", count: 1000) + "\r\nx\r\n"
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + String(repeating: chunk, count: 20))
    #expect(answer.status == 400)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "malformed-body")
  }

  @Test func `trailers beyond their limit are refused`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "trailer-size": "64B" }"#)
    func post(_ trailer: String) throws -> Int {
      try martlet.answer(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "1\r\nx\r\n0\r\n\(trailer)\r\n\r\n"
      ).status
    }
    #expect(try post("A: b") == 200)
    #expect(try post("A: " + String(repeating: "b", count: 60)) == 400)
  }

  @Test func `requests per connection are limited; the last answer announces the close`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      rest: #""limits": { "requests-per-connection": 3 }"#)
    let wire = try martlet.wire()
    for index in 1...3 {
      let answer = try wire.get()
      #expect(answer.text == "hello")
      #expect(answer["Connection"] == (index == 3 ? "close" : nil))
    }
    #expect(wire.endsQuietly())
  }
}

extension Wire {
  /// Whether the connection is open and no byte has arrived.
  fileprivate var isOpen: Bool {
    var byte: UInt8 = 0
    return recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) < 0 && errno == EAGAIN
  }
}
