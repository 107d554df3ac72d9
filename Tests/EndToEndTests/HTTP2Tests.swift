// Clients with HTTP/2: negotiation, streams beside each other, bodies both ways, resets, windows,
// limits, and the shutdown of a connection.

import Foundation
import HTTP
import HTTP2
import Testing

@Suite(.serialized) struct HTTP2Tests {
  private static let h2c = #""protocols": ["h2", "http/1.1"]"#

  private func start(
    _ backends: [any ConfiguredBackend], pool: String = "", rest: String = ""
  ) throws -> MartletProcess {
    try MartletProcess(backends: backends, pool: pool, listener: Self.h2c, rest: rest)
  }

  // MARK: Negotiation

  @Test(arguments: [
    ("", "--http2", "2"), ("", "--http1.1", "1.1"),
    (#", "protocols": ["http/1.1"]"#, "--http2", "1.1"),
    (#", "protocols": ["h2"]"#, "--http2", "2"),
  ])
  func `client and server agree on a version by ALPN`(
    _ protocols: String, _ option: String, _ version: String
  ) throws {
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry())] }"# + protocols)
    let result = try run([
      "curl", "-sS", option, "--cacert", certificates.authority, "-w", " %{http_version}",
      "https://localhost:\(martlet.port)/",
    ])
    #expect(result.output == "hello \(version)", "\(result.errors)")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["version"] as? String == version)
  }

  @Test func `a listener for HTTP 2 only refuses a client that offers http 1.1`() throws {
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")],
      listener: #""tls": { "certificates": [\#(certificates.entry())] }, "protocols": ["h2"]"#)
    let result = try run([
      "curl", "-sS", "--http1.1", "--cacert", certificates.authority,
      "https://localhost:\(martlet.port)/",
    ])
    #expect(result.status != 0)
    #expect(result.errors.contains("alert"), "\(result.errors)")
  }

  @Test func `a client with HTTP 1 is told that a port speaks only HTTP 2`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend("hello")], listener: #""protocols": ["h2"]"#)
    let answer = try martlet.get()
    #expect(answer.status == 505 && answer.text.contains("only HTTP/2"))
    #expect(try HTTP2Peer(martlet).get().text == "hello")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["reason"] as? String == "only-http2")
  }

  @Test func `without TLS a client may begin with HTTP 2 only where that is configured`() throws {
    let on = try start([try StubBackend("hello")])
    #expect(try HTTP2Peer(on).get().text == "hello")
    #expect(try on.get().text == "hello")
    let off = try MartletProcess(backends: [try StubBackend("hello")])
    let answer = try off.answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    #expect(answer.status == 505 || answer.status == 400)
  }

  @Test func `a preface that arrives byte by byte is recognised, and a similar method is not`()
    throws
  {
    let martlet = try start([try StubBackend("hello")])
    let wire = try martlet.wire()
    for byte in "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8 { try wire.send([byte]) }
    try wire.send([0, 0, 0, 4, 0, 0, 0, 0, 0])
    // The first frame is SETTINGS.
    #expect(try Array(wire.take(4).suffix(1)) == [4])
    #expect(try martlet.answer("PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n").status >= 400)
  }

  // MARK: Requests and responses

  @Test func `the backend gets the request as from HTTP 1, and the client gets the response`()
    throws
  {
    let stub = try StubBackend { request, wire in
      try wire.send(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-A: b\r\n\r\nok")
      return true
    }
    let martlet = try start([stub])
    let peer = try HTTP2Peer(martlet)
    let answer = try peer.get("/a?b=c", [("cookie", "a=1"), ("cookie", "b=2"), ("x-Y", "z")])
    #expect(answer.status == 200 && answer.text == "ok")
    #expect(answer["x-a"] == "b" && answer["content-length"] == "2")
    #expect(answer["connection"] == nil)
    let request = try #require(stub.lastRequest)
    #expect(request.line == "GET /a?b=c HTTP/1.1")
    #expect(request["Host"] == "localhost" && request["Cookie"] == "a=1; b=2")
    #expect(request["x-y"] == "z" && request["Content-Length"] == nil)
    let line = try #require(try martlet.accessLines(atLeast: 1).last)
    #expect(line["version"] as? String == "2" && line["target"] as? String == "/a?b=c")
  }

  @Test func `a slow response doesn't hold another one on the same connection`() throws {
    let folder = TemporaryFolder()
    let martlet = try start([try StubBackend.halving(until: folder.path("go"))])
    let peer = try HTTP2Peer(martlet)
    let slow = try peer.open("GET", "/slow")
    for _ in 0..<5 { #expect(try peer.get("/fast").text == "ok") }
    #expect(peer.answers[slow]?.hasEnded == false)
    try folder.write("", to: "go")
    #expect(try peer.answer(slow).text == "firstother")
  }

  @Test func `interim responses, and responses without a body, are passed on`() throws {
    let stub = try StubBackend { request, wire in
      switch request.target {
      case "/hints":
        try wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
      case "/204": try wire.send("HTTP/1.1 204 No Content\r\n\r\n")
      case "/304": try wire.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
      default: try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
      }
      return true
    }
    let peer = try HTTP2Peer(try start([stub]))
    let hints = try peer.get("/hints")
    #expect(hints.interims == [103] && hints.text == "x")
    #expect(try peer.get("/204").status == 204)
    let cached = try peer.get("/304")
    #expect(cached.status == 304 && cached["content-length"] == "7" && cached.body.isEmpty)
    let head = try peer.answer(peer.open("HEAD", "/"))
    #expect(head.status == 200 && head["content-length"] == "7" && head.body.isEmpty)
  }

  @Test func `bodies and trailers go both ways`() throws {
    let stub = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
          + "5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")
      return true
    }
    let peer = try HTTP2Peer(try start([stub]))
    let stream = try peer.open("POST", "/", [("te", "trailers")], body: .streamed)
    try peer.send(Array("some ".utf8), on: stream)
    try peer.send(Array("body".utf8), on: stream)
    try peer.send(trailers: [("x-check", "7")], on: stream)
    let answer = try peer.answer(stream)
    #expect(answer.text == "hello")
    #expect(answer.trailers.first?.name == "x-sum" && answer.trailers.first?.value == "42")
    let request = try #require(stub.lastRequest)
    #expect(request.text == "some body")
    #expect(request.trailers.first?.value == "7")
  }

  @Test func `an upload with a length arrives whole, larger than every window`() throws {
    let stub = try StubBackend()
    let peer = try HTTP2Peer(try start([stub]))
    let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let stream = try peer.open("POST", "/", body: .known(UInt64(body.count)))
    try peer.send(body, on: stream, ends: true)
    #expect(try peer.answer(stream).status == 200)
    let request = try #require(stub.lastRequest)
    #expect(request.body == body && request["Content-Length"] == "3000000")
  }

  @Test func `a failed backend is replaced by another one`() throws {
    let broken = try StubBackend { _, _ in false }
    let martlet = try start([broken, try StubBackend("good")])
    let peer = try HTTP2Peer(martlet)
    for _ in 0..<4 { #expect(try peer.get().text == "good") }
    #expect(broken.connectionCount > 0)
  }

  // MARK: Resets

  @Test func `a stream that its client resets ends at the backend, and no other one does`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend { request, wire in
      if request.target == "/slow" {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        // Until the connection is closed.
        _ = try? wire.takeRest()
        try folder.write("", to: "closed")
        return false
      }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return true
    }
    let martlet = try start([stub])
    let peer = try HTTP2Peer(martlet)
    let slow = try peer.open("GET", "/slow")
    try peer.wait("a part") { $0.answers[slow]?.text == "first" }
    try peer.reset(slow)
    eventually("the backend's connection is closed") {
      FileManager.default.fileExists(atPath: folder.path("closed"))
    }
    #expect(try peer.get("/fast").text == "ok")
    let line = try #require(
      try martlet.accessLines(atLeast: 2).first { $0["target"] as? String == "/slow" })
    #expect(line["failure"] as? String == "client-aborted")
  }

  @Test func `a response that breaks off is reset, and the connection continues`() throws {
    let stub = try StubBackend { request, wire in
      if request.target == "/cut" {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        return false
      }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return true
    }
    let peer = try HTTP2Peer(try start([stub]))
    let cut = try peer.get("/cut")
    #expect(cut.reset == .internalError && cut.text == "first" && !cut.hasEnded)
    #expect(try peer.get("/fast").text == "ok")
  }

  @Test func `after an early answer the rest of the request is discarded, and then reset`() throws {
    let stub = try StubBackend { request, wire in
      // It reads everything else as the rest of this request.
      try wire.send(
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
      _ = try? wire.takeRest()
      return false
    }
    let martlet = try start(
      [stub], rest: #""limits": { "collect-size": "0B", "linger": "300ms" }"#)
    let peer = try HTTP2Peer(martlet)
    // More than the window, of which all is credited.
    let whole = try peer.open("POST", "/", body: .known(1_000_000))
    try peer.send(Array(repeating: 1, count: 1_000_000), on: whole, ends: true)
    let answer = try peer.answer(whole)
    #expect(answer.status == 403 && answer.text == "no" && answer.hasEnded)
    #expect(answer.reset == nil)
    let part = try peer.open("POST", "/", body: .known(1_000_000))
    try peer.send(Array("begin".utf8), on: part)
    try peer.wait("RST_STREAM") { $0.answers[part]?.reset != nil }
    #expect(peer.answers[part]?.reset == .noError)
    #expect(peer.answers[part]?.text == "no", "\(peer.summary)")
    #expect(try peer.get("/x").status == 403)
  }

  // MARK: Windows

  @Test func `a stream that isn't read doesn't stop the others`() throws {
    let nginx = try Nginx("hello")
    try nginx.folder.write(String(repeating: "x", count: 4_000_000), to: "root/files/big")
    let martlet = try start([nginx])
    let peer = try HTTP2Peer(martlet)
    let unread = try peer.open("GET", "/files/big")
    peer.unread = [unread]
    for _ in 0..<200 { #expect(try peer.get("/").text == "hello\n") }
    let window = peer.answers[unread]?.body.count ?? 0
    #expect(window > 0 && window < 4_000_000)
    peer.unread = []
    try peer.consume(window, of: unread)
    #expect(try peer.answer(unread).body.count == 4_000_000)
  }

  @Test(arguments: [1, 5, 100]) func `small windows are respected`(_ window: Int) throws {
    var limits = HTTP2Limits()
    limits.streamWindow = window
    limits.streamWindowMax = window
    let text = String(repeating: "0123456789", count: 30)
    let stub = try StubBackend { request, wire in
      try wire.send(
        request.target == "/chunked"
          ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n\(text)\r\n0\r\n\r\n"
          : "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n\(text)")
      return true
    }
    let martlet = try start(
      [stub], pool: #""name": "app""#,
      rest: #""routes": [{ "path": "/r", "redirect": { "path": "/x" } }, { "forward": "app" }]"#)
    let peer = try HTTP2Peer(martlet, limits)
    #expect(try peer.get("/").text == text)
    #expect(try peer.get("/chunked").text == text)
    let redirect = try peer.get("/r")
    #expect(redirect.status == 308 && redirect.text.hasPrefix("Go to "))
    #expect(redirect.hasEnded && peer.error == nil)
  }

  // MARK: Malformed and too large

  @Test func `a malformed request is reset and logged, and the connection continues`() throws {
    let martlet = try start([try StubBackend("ok")])
    let peer = try HTTP2Peer(martlet)
    let bad = try peer.answer(peer.open("GET", "/", [("transfer-encodinG", "x")]))
    _ = bad
    #expect(try peer.get().text == "ok")
    // A path without a slash.
    let answer = try peer.answer(peer.open("GET", "nowhere"))
    #expect(answer.reset == .protocolError && answer.status == 0)
    let line = try #require(
      try martlet.accessLines(atLeast: 3).first { $0["reason"] as? String == "bad-path" })
    #expect(line["status"] as? Int == 400 && line["failure"] as? String == "malformed-head")
    #expect(try peer.get().text == "ok")
  }

  @Test func `a head that is too large gets 431, and CONNECT gets 501`() throws {
    let martlet = try start([try StubBackend("ok")])
    let peer = try HTTP2Peer(martlet)
    let fields = (0..<120).map { ("x-\($0)", "y") }
    #expect(try peer.get("/", fields).status == 431)
    #expect(try peer.answer(peer.open("CONNECT", "/", protocol: "other")).status == 501)
    #expect(try peer.get().text == "ok")
  }

  // MARK: WebSocket

  @Test func `an extended CONNECT becomes an upgrade at the backend, and bytes go both ways`()
    throws
  {
    let stub = try StubBackend { request, wire in
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
          + "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
      let said = String(decoding: try wire.takeRest(), as: UTF8.self)
      try wire.send(said.uppercased())
      return false
    }
    let martlet = try start([stub])
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open(
      "CONNECT", "/chat", [("sec-websocket-version", "13")], body: .streamed,
      protocol: "websocket")
    try peer.wait("200") { $0.answers[stream]?.status == 200 }
    #expect(peer.answers[stream]?["sec-websocket-protocol"] == "chat")
    #expect(peer.answers[stream]?["sec-websocket-accept"] == nil)
    try peer.send(Array("some ".utf8), on: stream)
    try peer.send(Array("bytes".utf8), on: stream, ends: true)
    #expect(try peer.answer(stream).text == "SOME BYTES")
    let request = try #require(stub.lastRequest)
    #expect(request.line == "GET /chat HTTP/1.1" && request["Upgrade"] == "websocket")
    #expect(request["Connection"] == "upgrade" && request["Sec-WebSocket-Version"] == "13")
    #expect(request["Sec-WebSocket-Key"]?.count == 24)
  }

  @Test func `a backend that doesn't switch is no tunnel`() throws {
    let martlet = try start([try StubBackend("ok")])
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/chat", body: .streamed, protocol: "websocket")
    #expect(try peer.answer(stream).status == 502)
  }

  // MARK: The end of a connection

  @Test func `a stop sends GOAWAY twice, and what is in progress is finished`() throws {
    let folder = TemporaryFolder()
    let martlet = try start([try StubBackend.halving(until: folder.path("go"))])
    let peer = try HTTP2Peer(martlet)
    let slow = try peer.open("GET", "/slow")
    try peer.wait("a part") { $0.answers[slow]?.text == "first" }
    martlet.signal(SIGTERM)
    try peer.wait("both GOAWAYs") { $0.goAways.count == 2 }
    #expect(peer.goAways.map(\.last) == [0x7FFF_FFFF, slow])
    #expect(peer.goAways.allSatisfy { $0.code == .noError })
    try folder.write("", to: "go")
    #expect(try peer.answer(slow).text == "firstother")
    #expect(peer.endsConnection())
    #expect(try martlet.process.waitForExit() == 0)
  }

  @Test func `after the last request that a connection may have, it is drained`() throws {
    let martlet = try start(
      [try StubBackend("ok")], rest: #""limits": { "requests-per-connection": 3 }"#)
    let peer = try HTTP2Peer(martlet)
    for _ in 0..<3 { #expect(try peer.get().text == "ok") }
    #expect(peer.endsConnection())
    #expect(peer.goAways.map(\.last) == [0x7FFF_FFFF, 5])
  }

  @Test func `an idle connection ends with GOAWAY`() throws {
    let martlet = try start(
      [try StubBackend("ok")], rest: #""limits": { "keep-alive": "200ms" }"#)
    let peer = try HTTP2Peer(martlet)
    #expect(try peer.get().text == "ok")
    #expect(peer.endsConnection())
    #expect(peer.goAways.map(\.last) == [1])
  }

  @Test func `a reload that removes the listener drains its connections`() throws {
    let stub = try StubBackend("ok")
    let martlet = try start([stub])
    let peer = try HTTP2Peer(martlet)
    #expect(try peer.get().text == "ok")
    try martlet.reload(
      MartletProcess.configuration(backends: [stub], listener: #""name": "other""#))
    #expect(peer.endsConnection())
    #expect(peer.goAways.map(\.last) == [0x7FFF_FFFF, 1])
  }

  @Test func `a flood of resets ends the connection, and costs the backends little`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path("go"))
    let martlet = try start([stub])
    let peer = try HTTP2Peer(martlet)
    var count = 0
    while peer.error == nil && peer.goAways.isEmpty && count < 5000 {
      guard let stream = try? peer.open("GET", "/slow") else { break }
      guard (try? peer.reset(stream)) != nil else { break }
      count += 1
    }
    #expect(peer.endsConnection())
    #expect(peer.goAways.last?.code == .enhanceYourCalm)
    #expect(stub.requests.count <= 300)
    #expect(try HTTP2Peer(martlet).get("/fast").text == "ok")
    try folder.write("", to: "go")
  }
}
