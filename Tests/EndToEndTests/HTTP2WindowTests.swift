// Streams whose window is closed, at the client or at the backend: which of them may stay like that
// for long, and how much may wait for a client.

import Foundation
import HTTP2
import Testing

@Suite(.serialized) struct HTTP2WindowTests {
  private static let grpc = [("content-type", "application/grpc"), ("te", "trailers")]

  /// A client with this window, which doesn't open it.
  private func client(_ martlet: MartletProcess, window: Int) throws -> HTTP2Peer {
    var limits = HTTP2Limits()
    limits.streamWindow = window
    limits.streamWindowMax = window
    return try HTTP2Peer(martlet, limits)
  }

  // MARK: Clients

  @Test func `a client may leave its window closed if nothing waits, or in a tunnel or a call`()
    throws
  {
    let folder = TemporaryFolder()
    // Sends ten bytes, and later the rest.
    let http1 = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n")
      _ = poll { FileManager.default.fileExists(atPath: folder.path("go")) }
      try wire.send("1\r\n!\r\n0\r\n\r\n")
      return true
    }
    let tunnels = try HTTP2Stub { _ in .respond(body: Array("0123456789".utf8)) }
    let calls = try HTTP2Server()
    let configuration = """
      {
        "listeners": [{ "listen": "127.0.0.1:0", "protocols": ["h2"] }],
        "pools": [
          { "name": "a", "backends": [\(http1.json)], "health": "off" },
          { "name": "b", "backends": [\(tunnels.json)], "health": "off", "protocol": "h2" },
          { "name": "c", "backends": [\(calls.json)], "health": "off", "protocol": "h2" }],
        "routes": [{ "path": "/a", "forward": "a" }, { "path": "/b", "forward": "b" },
          { "path": "/", "forward": "c" }],
        "limits": { "minimum-rate": "1KiB", "rate-grace": "200ms", "body-idle": "400ms" },
        "log": { "target": "access.log" }
      }
      """
    let martlet = try MartletProcess(configuration, keeping: [http1, tunnels, calls])
    let exact = try client(martlet, window: 10)
    let download = try exact.open("GET", "/a")
    exact.unread = [download]
    try exact.wait("ten bytes") { $0.answers[download]?.body.count == 10 }
    let small = try client(martlet, window: 5)
    let tunnel = try small.open("CONNECT", "/b", body: .streamed, protocol: "websocket")
    let call = try small.open("POST", "/test.Echo/Begin", Self.grpc, body: .streamed)
    small.unread = [tunnel, call]
    try small.send(Array("message".utf8), on: call, ends: true)
    try small.wait("five bytes") {
      $0.answers[tunnel]?.body.count == 5 && $0.answers[call]?.body.count == 5
    }
    // Bytes wait for this one, so it ends, each time after all the limits that it has.
    for _ in 0..<3 {
      let stalled = try client(martlet, window: 5)
      let stream = try stalled.open("GET", "/b")
      stalled.unread = [stream]
      #expect(try stalled.answer(stream).reset == .cancel)
    }
    try folder.write("", to: "go")
    try exact.consume(10, of: download)
    #expect(try exact.answer(download).text == "0123456789!")
    try small.consume(5, of: tunnel)
    try small.wait("the rest") { $0.answers[tunnel]?.text == "0123456789" }
    try small.consume(5, of: call)
    try small.wait("the rest") { $0.answers[call]?.text == "message" }
    #expect(small.answers[tunnel]?.reset == nil && small.answers[call]?.isOver == false)
  }

  @Test func `a call whose client opens no window ends after the idle time of the pool`() throws {
    let backend = try HTTP2Server()
    let martlet = try MartletProcess(
      backends: [backend],
      pool: #""protocol": "h2", "health": "off", "ejection": { "failures": 1 }, "#
        + #""timeouts": { "idle": "500ms" }"#,
      listener: #""protocols": ["h2"]"#, rest: #""limits": { "body-idle": "300s" }"#)
    let peer = try client(martlet, window: 5)
    let call = try peer.open("POST", "/test.Echo/Begin", Self.grpc, body: .streamed)
    peer.unread = [call]
    try peer.send(Array("message".utf8), on: call, ends: true)
    let answer = try peer.answer(call)
    #expect(answer.trailers.first { $0.name == "grpc-status" }?.value == "4", "\(answer)")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "response-stalled" && line["reason"] as? String == "idle")
    #expect(!martlet.log.contains("ejected"))
  }

  // MARK: Backends

  @Test func `a backend may leave its window closed, as long as the timeouts of its pool allow`()
    throws
  {
    let listening = try Listening()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(listening.port)"],
      pool: #""protocol": "h2", "health": "off", "ejection": { "failures": 1 }, "#
        + #""timeouts": { "idle": "1500ms", "relay-idle": "300s" }"#,
      listener: #""protocols": ["h2"]"#,
      rest: #""workers": 1, "limits": { "body-idle": "200ms", "rate-grace": "100ms" }"#)
    let peer = try HTTP2Peer(martlet)
    let tunnels = try (0..<2).map { _ in
      try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    }
    // Extended CONNECT (RFC 8441), and windows of 10 bytes.
    let backend = try RawHTTP2Backend(listening, settings: [0, 8, 0, 0, 0, 1, 0, 4, 0, 0, 0, 10])
    var streams: [UInt8] = []
    for tunnel in tunnels {
      streams.append(try backend.takeRequest())
      try backend.send(type: 1, flags: 4, stream: try #require(streams.last), [0x88])
      try peer.wait("200") { $0.answers[tunnel]?.status == 200 }
    }
    try peer.send(Array("0123456789".utf8), on: tunnels[0])
    try peer.send(Array("0123456789 and more".utf8), on: tunnels[1])
    let call = try peer.open("POST", "/pkg.S/m", Self.grpc, body: .streamed)
    streams.append(try backend.takeRequest())
    try backend.send(type: 1, flags: 4, stream: try #require(streams.last), [0x88])
    try peer.send(Array("0123456789 and more".utf8), on: call)
    let upload = try peer.open("POST", "/", body: .streamed)
    try peer.send(Array("0123456789 and more".utf8), on: upload)
    // The response has begun, and the backend has reasons of its own.
    streams.append(try backend.takeRequest())
    try backend.send(type: 1, flags: 4, stream: try #require(streams.last), [0x88])
    #expect(try peer.answer(upload).reset != nil)
    let line = try #require(
      try martlet.accessLines(atLeast: 2).first { $0["target"] as? String == "/" })
    #expect(line["failure"] as? String == "response-stalled" && line["reason"] as? String == "idle")
    #expect(peer.answers[tunnels[0]]?.isOver == false && peer.answers[tunnels[1]]?.isOver == false)
    // WINDOW_UPDATE.
    try backend.send(type: 8, stream: streams[1], [0, 0, 0, 100])
    try backend.send(type: 0, flags: 1, stream: streams[1], Array("end".utf8))
    #expect(try peer.answer(tunnels[1]).text == "end")
    #expect(!martlet.log.contains("ejected"))
  }

  // MARK: Memory

  /// 100 answers of 60 KiB each for a client with windows of 10 bytes.
  private func answers(
    _ martlet: MartletProcess, _ path: String
  ) throws -> (complete: Int, reset: Int) {
    let peer = try client(martlet, window: 10)
    let streams = try (0..<100).map { _ in
      let stream = try peer.open("GET", path)
      peer.unread.insert(stream)
      return stream
    }
    try peer.wait("all begin") { peer in
      streams.allSatisfy { peer.answers[$0]?.body.count == 10 || peer.answers[$0]?.isOver == true }
    }
    peer.unread = []
    for stream in streams where peer.answers[stream]?.isOver == false {
      try peer.consume(10, of: stream)
    }
    let answers = try streams.map { try peer.answer($0) }
    return (
      answers.count { $0.hasEnded && $0.body.count >= 60_000 },
      answers.count { $0.reset == .cancel }
    )
  }

  @Test func `answers that wait for a client are limited unless they are the configuration's`()
    throws
  {
    let folder = TemporaryFolder()
    let text = String(repeating: "x", count: 60_000)
    try folder.write(text, to: "page.html")
    let martlet = try MartletProcess(
      """
      {
        "listeners": [{ "listen": "127.0.0.1:0", "protocols": ["h2"] }],
        "routes": [{ "path": "/respond", "respond": { "body": "\(text)" } }],
        "error-pages": { "404": "\(folder.path("page.html"))" },
        "log": { "target": "access.log" }
      }
      """)
    #expect(try answers(martlet, "/respond") == (100, 0))
    let (complete, reset) = try answers(martlet, "/none")
    #expect(complete >= 8 && complete < 10 && complete + reset == 100, "\(complete) \(reset)")
    #expect(try martlet.metric(#"martlet_slow_clients_total{part="response"}"#) == reset)
    #expect(try HTTP2Peer(martlet).get("/none").body.count == 60_000)
  }

  @Test func `trailers that wait for a client are limited`() throws {
    let details = String(repeating: "x", count: 60_000)
    let stub = try HTTP2Stub { _ in
      .respond(body: Array("0123456789!".utf8), trailers: [("details", details)])
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2", "health": "off""#,
      listener: #""protocols": ["h2"]"#, flags: ["--workers", "1"])
    var limits = HTTP2Limits()
    (limits.trailerByteCount, limits.fieldListByteCount) = (128 * 1024, 128 * 1024)
    (limits.streamWindow, limits.streamWindowMax) = (10, 10)
    let peer = try HTTP2Peer(martlet, limits)
    // Twice, since what has ended must not count any more.
    for _ in 0..<2 {
      let streams = try (0..<50).map { _ in
        let stream = try peer.open()
        peer.unread.insert(stream)
        return stream
      }
      try peer.wait("all begin, or fail") { peer in
        streams.allSatisfy {
          peer.answers[$0]?.body.count == 10 || peer.answers[$0]?.reset != nil
        } && streams.count { peer.answers[$0]?.reset != nil } >= 42
      }
      peer.unread = []
      for stream in streams where peer.answers[stream]?.reset == nil {
        try peer.consume(10, of: stream)
      }
      let answers = try streams.map { try peer.answer($0) }
      #expect(answers.count { $0.trailers.first?.value == details } == 8)
    }
    let failures = try martlet.accessLines(atLeast: 100).compactMap { $0["failure"] as? String }
    #expect(failures == [String](repeating: "client-stalled", count: 84))
  }
}
