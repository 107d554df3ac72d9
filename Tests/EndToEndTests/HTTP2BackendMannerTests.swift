// What backends with HTTP/2 want, and what Martlet does about it: HTTP/1 instead, calm, no flood of
// cancelled streams, younger connections. And what becomes of a backend that is gone.

import Foundation
import HTTP2
import Testing

@Suite(.serialized) struct HTTP2BackendMannerTests {
  private func start(
    _ backends: [any ConfiguredBackend], _ rest: String = ""
  ) throws -> MartletProcess {
    try MartletProcess(
      backends: backends, pool: #""protocol": "h2", "health": "off", "ejection": "off""# + rest,
      listener: #""protocols": ["h2", "http/1.1"]"#, flags: ["--workers", "1"])
  }

  private func attempts(_ line: [String: Any]) -> [[String: Any]] {
    line["attempts"] as? [[String: Any]] ?? []
  }

  // MARK: HTTP/1 instead

  @Test func `a backend that speaks only HTTP 1 is skipped, whatever the method`() throws {
    let old = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
      return false
    }
    let new = try HTTP2Stub { _ in .respond(body: Array("new".utf8)) }
    let martlet = try start([old, new])
    for _ in 0..<2 {
      let answer = try martlet.answer(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
      #expect(answer.status == 200 && answer.text == "new")
    }
    let lines = try martlet.accessLines(atLeast: 2)
    let failed = lines.flatMap(attempts).first { $0["backend"] as? String == old.address }
    #expect(failed?["result"] as? String == "no-http2")
    let ok = lines.flatMap(attempts).first { $0["backend"] as? String == new.address }
    #expect(ok?["protocol"] as? String == "h2")
    #expect(try martlet.metric(#"martlet_upstream_http2_errors_total{reason="no-http2"}"#) > 0)
    let alone = try start([old])
    #expect(try alone.get().status == 502)
    #expect(try alone.accessLines(atLeast: 1).first?["failure"] as? String == "no-http2")
    #expect(try alone.metric(#"martlet_failures_total{cause="no-http2"}"#) == 1)
  }

  /// A server with TLS that resets every stream of HTTP/2, and writes a line for each connection.
  private func demandingServer(_ folder: TemporaryFolder, _ certificates: Certificates) throws
    -> (port: Int, ChildProcess)
  {
    let port = try freePort()
    try folder.write(
      """
      import socket, ssl, threading
      context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
      context.load_cert_chain("\(certificates.folder.path("server.crt"))",
        "\(certificates.folder.path("server.key"))")
      context.set_alpn_protocols(["h2", "http/1.1"])
      def serve(plain):
        try:
          wire = context.wrap_socket(plain, server_side=True)
          with open("versions", "a") as file: file.write(f"{wire.selected_alpn_protocol()}\\n")
          file = wire.makefile("rb")
          if wire.selected_alpn_protocol() == "h2":
            file.read(24)
            wire.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            while True:
              head = file.read(9)
              file.read(head[0] << 16 | head[1] << 8 | head[2])
              reset = bytes([0, 0, 4, 3, 0]) + head[5:9] + bytes([0, 0, 0, 13])
              if head[3] == 1: wire.sendall(reset)
          while file.readline():
            length = 0
            while (line := file.readline().strip().lower()):
              if line.startswith(b"content-length:"): length = int(line.split(b":")[1])
            file.read(length)
            wire.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\n1.1")
        except Exception: pass
      server = socket.create_server(("127.0.0.1", \(port)))
      while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
      """, to: "server.py")
    let child = try ChildProcess(["python3", "server.py"], in: folder.path)
    _ = poll { (try? Wire(port: port)) != nil }
    return (port, child)
  }

  @Test func `a backend that requires HTTP 1 gets it, and for the next requests too`() throws {
    let (certificates, folder) = (try Certificates(), TemporaryFolder())
    let server = try demandingServer(folder, certificates)
    defer { server.1.signal(SIGKILL) }
    func start(_ spoken: String) throws -> MartletProcess {
      try MartletProcess(
        backends: ["https://localhost:\(server.port)"],
        pool: #"""
          "protocol": "\#(spoken)", "health": "off", "tls": { "ca": "\#(certificates.authority)" }
          """#,
        listener: #""protocols": ["h2", "http/1.1"]"#, flags: ["--workers", "1"])
    }
    let martlet = try start("auto")
    for _ in 0..<3 {
      let answer = try martlet.answer(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
      #expect(answer.status == 200 && answer.text == "1.1")
    }
    #expect(folder.lines(of: "versions").count { $0 == "h2" } == 1)
    let lines = try martlet.accessLines(atLeast: 3)
    #expect(attempts(lines[0]).map { $0["protocol"] as? String } == ["h2", "http/1.1"])
    #expect(attempts(lines[1]).map { $0["protocol"] as? String } == ["http/1.1"])
    // Such requests don't count against the backend: their clients may be the cause.
    let strict = try start("h2")
    for _ in 0..<8 { #expect(try strict.get().status == 502) }
    #expect(
      try strict.accessLines(atLeast: 8).allSatisfy { $0["failure"] as? String == "no-http2" })
    #expect(!strict.log.contains("ejected"))
  }

  // MARK: Calm

  @Test func `a request that a backend sends away for calm goes to another one`() throws {
    let busy = try HTTP2Stub { _ in .leave(.enhanceYourCalm) }
    let other = try HTTP2Stub { _ in .respond(body: Array("other".utf8)) }
    let martlet = try start([busy, other])
    for _ in 0..<8 {
      let answer = try martlet.answer(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
      #expect(answer.text == "other")
    }
    // Without another connection to it for some time.
    #expect(busy.connectionCount == 1)
    let series = #"martlet_upstream_http2_retired_total{reason="enhance-your-calm"}"#
    #expect(try martlet.metric(series) == 1)
  }

  @Test func `a stream that is reset for calm doesn't count against its backend`() throws {
    let stub = try HTTP2Stub { _ in .reset(.enhanceYourCalm) }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2", "health": "off", "retry": { "max-attempts": 1 }"#)
    for _ in 0..<8 { #expect(try martlet.get().status == 502) }
    #expect(!martlet.log.contains("ejected"))
    #expect(stub.requests.count == 8)
  }

  // MARK: Cancels

  @Test func `streams that many clients cancel don't add up on one connection`() throws {
    let stub = try HTTP2Stub { request in
      request.path == "/" ? .respond(body: Array("ok".utf8)) : .nothing
    }
    let martlet = try start([stub])
    for _ in 0..<4 {
      let peer = try HTTP2Peer(martlet)
      for _ in 0..<5 {
        let streams = try (0..<20).map { _ in try peer.open("GET", "/never") }
        for stream in streams { try peer.reset(stream) }
      }
      #expect(try peer.get().text == "ok")
    }
    eventually("all were cancelled") {
      (try? martlet.metric(#"martlet_upstream_http2_retired_total{reason="cancels"}"#)) ?? 0 >= 3
    }
    #expect(stub.connectionCount > 3)
    #expect(stub.mostResets <= 150, "\(stub.mostResets)")
  }

  @Test func `tunnels that the backend refuses or finishes are not reset`() throws {
    let stub = try HTTP2Stub { request in
      request.path == "/refused"
        ? .respond(status: 403, body: Array("no".utf8)) : .respond(body: Array("bye".utf8))
    }
    let martlet = try start([stub])
    let peer = try HTTP2Peer(martlet)
    for index in 0..<70 {
      let isRefused = index < 35
      let path = isRefused ? "/refused" : "/chat"
      let stream = try peer.open("CONNECT", path, body: .streamed, protocol: "websocket")
      let answer = try peer.answer(stream)
      #expect(answer.status == (isRefused ? 403 : 200) && answer.text == (isRefused ? "no" : "bye"))
    }
    #expect(try martlet.metric(#"martlet_upstream_http2_retired_total{reason="cancels"}"#) == 0)
    #expect(stub.mostResets == 0 && stub.connectionCount == 1)
  }

  /// Servers count them as well, and don't know whose deadline it was.
  @Test func `streams that Martlet's deadlines end count too`() throws {
    let stub = try HTTP2Stub { _ in .nothing }
    let martlet = try start([stub], #", "timeouts": { "grpc-max": "200ms" }"#)
    let peer = try HTTP2Peer(martlet)
    let streams = try (0..<70).map { _ in
      try peer.open("POST", "/a.B/C", [("content-type", "application/grpc")])
    }
    for stream in streams { #expect(try peer.answer(stream)["grpc-status"] == "4") }
    #expect(try martlet.metric(#"martlet_upstream_http2_retired_total{reason="cancels"}"#) == 1)
  }

  // MARK: Age

  @Test(arguments: ["h2", "http/1.1"])
  func `an old connection takes no more requests`(_ spoken: String) throws {
    let new = try HTTP2Stub { _ in .respond(body: Array("ok".utf8)) }
    let old = try StubBackend("ok")
    let martlet = try MartletProcess(
      backends: [spoken == "h2" ? new : old],
      pool: #"""
        "protocol": "\#(spoken)", "health": "off", "keep-alive": { "idle": "1h", "max-age": "1s" }
        """#, flags: ["--workers", "1"])
    func count() -> Int { spoken == "h2" ? new.connectionCount : old.connectionCount }
    eventually("a third connection") {
      (try? martlet.get().text) == "ok" && count() >= 3
    }
    let lines = try martlet.accessLines()
    #expect(lines.count > 3 && lines.allSatisfy { $0["failure"] == nil })
  }

  // MARK: Gone

  @Test func `a backend that answers no PING is gone, and its streams fail by name`() throws {
    let listening = try Listening()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(listening.port)"],
      pool: #"""
        "protocol": "h2", "health": "off", "timeouts": { "response": "5m", "request": "5m" },
        "retry": { "max-attempts": 1 }
        """#, listener: #""protocols": ["h2", "http/1.1"]"#)
    let peer = try HTTP2Peer(martlet)
    let streams = [try peer.open(), try peer.open()]
    let backend = try #require(listening.accept())
    try backend.send([0, 0, 0, 4, 0, 0, 0, 0, 0] + [0, 0, 0, 4, 1, 0, 0, 0, 0])
    // Until the end, about 20 seconds later.
    for stream in streams { #expect(try peer.answer(stream).status == 504) }
    for line in try martlet.accessLines(atLeast: 2) {
      #expect(line["failure"] as? String == "ping-timeout")
    }
    #expect(!(try backend.takeRest()).isEmpty)
  }
}
