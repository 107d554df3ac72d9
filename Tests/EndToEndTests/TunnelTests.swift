// WebSockets over HTTP/2 to backends (RFC 8441), whose side is Python's h2: from clients with
// HTTP/2 and with HTTP/1.1, and what happens if a backend doesn't offer them.

import Foundation
import HTTP
import HTTP2
import Testing

@Suite(.serialized) struct TunnelTests {
  private func start(_ backend: String, _ pool: String) throws -> MartletProcess {
    try MartletProcess(
      backends: [backend], pool: #""health": "off", "ejection": { "failures": 1 }, "# + pool,
      listener: #""protocols": ["h2", "http/1.1"]"#, rest: #""workers": 1"#)
  }

  private static let upgrade = """
    GET /chat?x=1 HTTP/1.1\r
    Host: chat.example\r
    Connection: Upgrade\r
    Upgrade: websocket\r
    Sec-WebSocket-Version: 13\r
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
    \r

    """

  /// The key and its answer are those of RFC 6455 1.3.
  private func expectSwitch(_ answer: Message) {
    #expect(answer.status == 101, "\(answer)")
    #expect(answer["Upgrade"] == "websocket" && answer["Connection"] == "upgrade")
    #expect(answer["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    #expect(answer["Content-Length"] == nil && answer["Transfer-Encoding"] == nil)
  }

  @Test func `a client with HTTP 2 gets a tunnel over HTTP 2`() throws {
    let backend = try HTTP2Server(tunnels: true)
    let martlet = try start(backend.address, #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    // The first ones come before the settings of the backend.
    let streams = try (0..<3).map { _ in
      try peer.open(
        "CONNECT", "/chat?x=1", [("sec-websocket-version", "13"), ("sec-websocket-key", "k")],
        body: .streamed, protocol: "websocket", authority: "chat.example")
    }
    for stream in streams {
      try peer.wait("200") { $0.answers[stream]?.status == 200 }
      try peer.send(Array("some ".utf8), on: stream)
      try peer.wait("the echo") { $0.answers[stream]?.text == "SOME " }
      #expect(peer.answers[stream]?["sec-websocket-accept"] == nil)
      try peer.send(Array("bytes".utf8), on: stream, ends: true)
      #expect(try peer.answer(stream).text == "SOME BYTES")
    }
    #expect(backend.events("ended").count == 3)
    let request = try #require(backend.requests.first)
    #expect(request[":method"] == "CONNECT" && request[":protocol"] == "websocket")
    #expect(request[":path"] == "/chat?x=1" && request[":scheme"] == "http")
    #expect(request[":authority"] == "chat.example" && request["sec-websocket-key"] == nil)
    #expect(request["sec-websocket-version"] == "13")
    #expect(try martlet.accessLines(atLeast: 3).allSatisfy { $0["status"] as? Int == 200 })
  }

  @Test func `a client with HTTP 1 gets a tunnel over HTTP 2`() throws {
    let backend = try HTTP2Server(tunnels: true)
    let martlet = try start(backend.address, #""protocol": "h2""#)
    for _ in 0..<2 {
      let wire = try martlet.wire()
      try wire.send(Self.upgrade)
      expectSwitch(try wire.takeResponse())
      try wire.send("some ")
      #expect(try wire.take(5) == Array("SOME ".utf8))
      try wire.send("bytes")
      #expect(try wire.take(5) == Array("BYTES".utf8))
      wire.finishSending()
      #expect(try wire.takeRest().isEmpty)
    }
    eventually("the end has come") { backend.events("ended").count == 2 }
    let request = try #require(backend.requests.first)
    #expect(request[":method"] == "CONNECT" && request[":protocol"] == "websocket")
    #expect(request["sec-websocket-key"] == nil && request["upgrade"] == nil)
    // Other requests use the same connection.
    #expect(try martlet.get("/").text == "plain")
  }

  @Test func `bytes beyond every window go both ways`() throws {
    let backend = try HTTP2Server(tunnels: true)
    let martlet = try start(backend.address, #""protocol": "h2""#)
    let piece = [UInt8](repeating: 0x61, count: 1 << 20)
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    expectSwitch(try wire.takeResponse())
    for _ in 0..<50 {
      let part = Array(piece.prefix(60_000))
      try wire.send(part)
      #expect(try wire.take(part.count) == [UInt8](repeating: 0x41, count: part.count))
    }
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    try peer.wait("200") { $0.answers[stream]?.status == 200 }
    try peer.send(piece, on: stream, ends: true)
    #expect(try peer.answer(stream).body.count == piece.count)
  }

  @Test func `a refusal of the backend is an ordinary response`() throws {
    let backend = try HTTP2Server(tunnels: true)
    let martlet = try start(backend.address, #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/refused", body: .streamed, protocol: "websocket")
    #expect(try peer.answer(stream).status == 403)
    let request = Self.upgrade.replacing("/chat?x=1", with: "/refused")
    #expect(try martlet.answer(request).status == 403)
  }

  /// With the smaller limit the client doesn't even take the 502.
  @Test(arguments: [1000, 60])
  func `a tunnel whose head its client doesn't take ends at once`(_ limit: Int) throws {
    let stub = try HTTP2Stub { _ in .respond([("a", String(repeating: "x", count: 3000))]) }
    let martlet = try start(stub.address, #""protocol": "h2""#)
    var limits = HTTP2Limits()
    limits.fieldListByteCount = limit
    let peer = try HTTP2Peer(martlet, limits)
    let begin = ContinuousClock.now
    let stream = try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    let answer = try peer.answer(stream)
    #expect(answer.status == (limit == 60 ? 0 : 502), "\(answer)")
    if limit == 60 { #expect(answer.reset == .internalError) }
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(ContinuousClock.now - begin < .seconds(10))
    #expect(line["failure"] as? String == "bad-response" && line["status"] as? Int == 502)
    #expect(line["reason"] as? String == "head-too-large-for-peer")
  }

  @Test func `the same with a backend that speaks HTTP 1`() throws {
    let large = String(repeating: "x", count: 3000)
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nA: \(large)\r\n\r\n")
      return true
    }
    let martlet = try start(stub.address, #""protocol": "http/1.1""#)
    var limits = HTTP2Limits()
    limits.fieldListByteCount = 1000
    let peer = try HTTP2Peer(martlet, limits)
    let stream = try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    #expect(try peer.answer(stream).status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] as? String == "head-too-large-for-peer")
  }

  @Test func `a client that leaves resets the stream, and one whose backend does is cut`() throws {
    let backend = try HTTP2Server(tunnels: true)
    let martlet = try start(backend.address, #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    try peer.wait("200") { $0.answers[stream]?.status == 200 }
    try peer.reset(stream)
    eventually("the backend is told") { backend.events("reset").map { $0["code"] as? Int } == [8] }
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    expectSwitch(try wire.takeResponse())
    backend.end()
    #expect((try? wire.takeRest().isEmpty) ?? true)
  }

  @Test func `a client that ends with its head half-closes the tunnel`() throws {
    let backend = try HTTP2Server(tunnels: true)
    let martlet = try start(backend.address, #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/", body: .none, protocol: "websocket")
    let answer = try peer.answer(stream)
    #expect(answer.status == 200 && answer.hasEnded && answer.body.isEmpty)
    #expect(backend.events("ended").count == 1)
  }

  @Test func `a backend that doesn't offer it is a failure with a name, and isn't blamed`() throws {
    let backend = try HTTP2Server()
    let martlet = try start(backend.address, #""protocol": "h2""#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    #expect(try peer.answer(stream).status == 502)
    #expect(try martlet.answer(Self.upgrade).status == 502)
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.allSatisfy { $0["failure"] as? String == "no-extended-connect" })
    let state = try run([
      "curl", "-sS", "--unix-socket", martlet.folder.path("admin.sock"), "http://a/v1/state",
    ]).output
    #expect(state.contains(#""failures":{}"#) && !state.contains("last_failure"))
    #expect(try martlet.get("/").text == "plain")
    #expect(!martlet.log.contains("ejected"))
  }

  @Test func `a backend that sends no settings fails in time, with all that wait for them`() throws
  {
    let listening = try Listening()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(listening.port)"],
      pool: """
        "health": "off", "ejection": "off", "protocol": "h2", "retry": { "max-attempts": 1 },
        "timeouts": { "connect": "300ms" }
        """, listener: #""protocols": ["h2"]"#, rest: #""workers": 1"#)
    let peer = try HTTP2Peer(martlet)
    let streams = try (0..<3).map { _ in
      try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    }
    // One of them leaves before.
    try peer.reset(streams[1])
    for stream in [streams[0], streams[2]] { #expect(try peer.answer(stream).status == 504) }
  }

  @Test(arguments: [false, true])
  func `with auto, HTTP 1 is used unless an open connection offers it`(_ tunnels: Bool) throws {
    let certificates = try Certificates()
    let backend = try HTTP2Server(tunnels: tunnels, certificates: certificates)
    let martlet = try start(
      "https://localhost:\(backend.port)",
      #""protocol": "auto", "tls": { "ca": "\#(certificates.authority)" }"#)
    let wire = try martlet.wire()
    try wire.send(Self.upgrade)
    #expect(try wire.takeResponse().status == 101)
    try wire.send("first")
    #expect(try wire.take(5) == Array("FIRST".utf8))
    #expect(backend.events("http1").count == 1 && backend.requests.isEmpty)
    // Other requests use HTTP/2, which says what it offers.
    #expect(try martlet.get("/").text == "plain")
    #expect(backend.requests.map { $0[":method"] } == ["GET"])
    let second = try martlet.wire()
    try second.send(Self.upgrade)
    #expect(try second.takeResponse().status == 101)
    try second.send("second")
    #expect(try second.take(6) == Array("SECOND".utf8))
    let overHTTP2 = backend.requests.count { $0[":protocol"] == "websocket" }
    #expect(overHTTP2 == (tunnels ? 1 : 0))
    #expect(backend.events("http1").count == (tunnels ? 1 : 2))
  }
}
