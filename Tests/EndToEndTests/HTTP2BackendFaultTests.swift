// Backends with HTTP/2 that end their connection at a bad moment, or accept few streams. They send
// raw frames, so that a test decides when each of them comes.

import Foundation
import HTTP2
import Testing

@Suite(.serialized) struct HTTP2BackendFaultTests {
  private typealias Backend = RawHTTP2Backend

  private func start(_ listening: Listening, _ rest: String = "") throws -> MartletProcess {
    try MartletProcess(
      backends: ["127.0.0.1:\(listening.port)"],
      pool: #""protocol": "h2", "health": "off", "ejection": "off""# + rest,
      listener: #""protocols": ["h2", "http/1.1"]"#)
  }

  @Test(arguments: [false, true])
  func `a backend may fail during a drain`(_ breaksRules: Bool) throws {
    let listening = try Listening()
    let martlet = try start(listening)
    let peer = try HTTP2Peer(martlet)
    let streams = [try peer.open(), try peer.open()]
    let backend = try Backend(listening)
    for _ in streams { _ = try backend.takeRequest() }
    martlet.signal(SIGTERM)
    try peer.wait("GOAWAY") { !$0.goAways.isEmpty }
    listening.end()
    if breaksRules {
      // PUSH_PROMISE.
      try backend.send(type: 5, flags: 4, stream: 1, [0, 0, 0, 2])
    } else {
      backend.wire.end()
    }
    for stream in streams { #expect(try peer.answer(stream).status == 502) }
  }

  @Test func `a complete response survives the end of its connection`() throws {
    let listening = try Listening()
    let martlet = try start(listening)
    var limits = HTTP2Limits()
    limits.streamWindow = 100
    let peer = try HTTP2Peer(martlet, limits)
    let slow = try peer.open()
    peer.unread = [slow]
    let backend = try Backend(listening)
    let body = (0..<1000).map { UInt8($0 % 256) }
    try backend.respond(try backend.takeRequest(), body)
    try peer.wait("a window") { $0.answers[slow]?.body.count == 100 }
    backend.wire.end()
    // When another connection is made, the end of the first one is known.
    let other = try peer.open()
    let next = try Backend(listening)
    try next.respond(try next.takeRequest(), [0x61])
    #expect(try peer.answer(other).text == "a")
    peer.unread = []
    try peer.consume(100, of: slow)
    let answer = try peer.answer(slow)
    #expect(answer.body == body && answer.hasEnded && answer.reset == nil)
  }

  @Test func `connections that take no streams are not piled up`() throws {
    let listening = try Listening()
    let martlet = try start(listening, #", "keep-alive": { "max-idle": 1 }"#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open()
    // SETTINGS_MAX_CONCURRENT_STREAMS of 0.
    let settings: [UInt8] = [0, 3, 0, 0, 0, 0]
    let first = try Backend(listening, settings: settings)
    try first.refuse(try first.takeRequest())
    let second = try Backend(listening, settings: settings)
    try second.refuse(try second.takeRequest())
    // GOAWAY, and the end.
    #expect(!(try second.wire.takeRest()).isEmpty)
    let third = try Backend(listening)
    try third.respond(try third.takeRequest(), [0x61])
    #expect(try peer.answer(stream).text == "a")
  }

  @Test func `a request that a backend has not begun is no failure of it`() throws {
    let listening = try Listening()
    let martlet = try start(listening)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("POST")
    let backend = try Backend(listening)
    try backend.refuse(try backend.takeRequest())
    try backend.respond(try backend.takeRequest(), [0x61])
    #expect(try peer.answer(stream).text == "a")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    let attempts = line["attempts"] as? [[String: Any]] ?? []
    #expect(attempts.map { $0["result"] as? String } == ["not-processed", "ok"])
    #expect(line["failure"] == nil && line["reason"] == nil)
    let curl = ["curl", "-sS", "--unix-socket", martlet.folder.path("admin.sock")]
    let page = try run(curl + ["http://a/metrics"]).output
    #expect(page.contains("\nmartlet_upstream_http2_not_processed_total 1\n"))
    let failures = page.split(separator: "\n").filter {
      $0.hasPrefix("martlet_backend_failures_total{") && !$0.hasSuffix(" 0")
    }
    #expect(failures.isEmpty, "\(failures)")
    let state = try run(curl + ["http://a/v1/state"]).output
    #expect(state.contains(#""failures":{}"#) && !state.contains("last_failure"))
  }

  /// 2 is INTERNAL_ERROR: what a reset of the connection is for TCP.
  @Test(arguments: [0, 2] as [UInt8])
  func `a tunnel that its backend resets has no orderly end`(_ code: UInt8) throws {
    let listening = try Listening()
    let martlet = try start(listening)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("CONNECT", "/", body: .streamed, protocol: "websocket")
    // It offers extended CONNECT (RFC 8441 3).
    let backend = try Backend(listening, settings: [0, 8, 0, 0, 0, 1])
    let its = try backend.takeRequest()
    try backend.send(type: 1, flags: 4, stream: its, [0x88])
    try backend.send(type: 0, stream: its, [0x61])
    try peer.wait("a byte") { $0.answers[stream]?.text == "a" }
    try backend.send(type: 3, stream: its, [0, 0, 0, code])
    let answer = try peer.answer(stream)
    #expect(answer.hasEnded == (code == 0) && (answer.reset != nil) == (code != 0), "\(answer)")
  }

  @Test(arguments: [1, 3])
  func `a backend that refuses each stream is asked a few times`(_ attempts: Int) throws {
    let stub = try HTTP2Stub { $0.path == "/" ? .respond(body: [0x61]) : .reset(.refusedStream) }
    let martlet = try MartletProcess(
      backends: [stub],
      pool: #""protocol": "h2", "health": "off", "retry": { "max-attempts": \#(attempts) }"#,
      listener: #""protocols": ["h2"]"#)
    let peer = try HTTP2Peer(martlet)
    // The connection to the backend is warm.
    #expect(try peer.get().text == "a")
    #expect(try peer.get("/refused").status == 502)
    // What was not processed five times is free.
    #expect(stub.requests.count == 1 + 5 + attempts)
    let line = try #require(try martlet.accessLines(atLeast: 2).last)
    #expect((line["attempts"] as? [Any])?.count == 5 + attempts)
  }

  @Test func `requests don't follow one that a silent connection has not answered`() throws {
    let listening = try Listening()
    let martlet = try start(
      listening, #", "timeouts": { "response": "6s" }, "retry": { "max-attempts": 1 }"#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open()
    let silent = try Backend(listening)
    _ = try silent.takeRequest()
    #expect(try peer.answer(stream).status == 504)
    let other = try peer.open()
    let next = try Backend(listening)
    try next.respond(try next.takeRequest(), [0x61])
    #expect(try peer.answer(other).text == "a")
  }

  @Test func `late responses to requests that clients gave up harm no others`() throws {
    let listening = try Listening()
    let martlet = try start(listening)
    let peer = try HTTP2Peer(martlet)
    let streams = try (0..<61).map { _ in try peer.open() }
    let backend = try Backend(listening)
    let taken = try streams.map { _ in try backend.takeRequest() }
    for stream in streams.dropLast() { try peer.reset(stream) }
    // After so many, another connection is used: then all RST_STREAM frames are sent.
    let other = try peer.open()
    let next = try Backend(listening)
    try next.respond(try next.takeRequest(), [0x61])
    #expect(try peer.answer(other).text == "a")
    for stream in taken { try backend.respond(stream, [0x62]) }
    #expect(try peer.answer(streams[60]).text == "b")
  }

  // MARK: Clients that don't read

  /// Heads for so many streams are more than a kernel takes.
  private static let manyStreams = 300

  /// Responses have a head that no table compresses.
  private func startLarge(_ byteCount: Int) throws -> (MartletProcess, HTTP2Peer) {
    let stub = try HTTP2Stub { _ in
      .respond([("a", String(repeating: "x", count: byteCount))], body: Array("ok".utf8))
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2", "health": "off""#,
      listener: #""protocols": ["h2"]"#,
      rest: #""limits": { "streams-per-connection": \#(Self.manyStreams) }"#)
    var limits = HTTP2Limits()
    limits.fieldListByteCount = 128 * 1024
    limits.streamCount = Self.manyStreams
    return (martlet, try HTTP2Peer(martlet, limits, receiveBuffer: 4096))
  }

  @Test func `heads wait for a client that reads late`() throws {
    let (martlet, peer) = try startLarge(25_000)
    let streams = try (0..<14).map { _ in try peer.open() }
    // Its answers have come by then.
    #expect(try HTTP2Peer(martlet).get().text == "ok")
    for stream in streams {
      let answer = try peer.answer(stream)
      #expect(answer.status == 200 && answer["a"]?.count == 25_000 && answer.text == "ok")
    }
  }

  @Test func `trailers wait for a client that reads late`() throws {
    let details = String(repeating: "x", count: 30_000)
    let stub = try HTTP2Stub { _ in .respond(trailers: [("details", details)]) }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2", "health": "off""#,
      listener: #""protocols": ["h2"]"#, flags: ["--workers", "1"])
    var limits = HTTP2Limits()
    limits.trailerByteCount = 128 * 1024
    limits.fieldListByteCount = 128 * 1024
    let peer = try HTTP2Peer(martlet, limits, receiveBuffer: 4096)
    // More than the socket takes, and less than may wait.
    let streams = try (0..<16).map { _ in try peer.open() }
    eventually("the backend has responded to all") { stub.requests.count == 16 }
    #expect(try HTTP2Peer(martlet, limits).get().trailers.first?.value == details)
    let answers = try streams.map { try peer.answer($0).trailers.first?.value }
    #expect(answers.allSatisfy { $0 == details })
  }

  /// With tunnels, the heads are those that accept them.
  @Test(arguments: [false, true])
  func `heads for a client that doesn't read are limited`(_ tunnels: Bool) throws {
    let (martlet, peer) = try startLarge(60_000)
    let streams = try (0..<Self.manyStreams).map { _ in
      tunnels
        ? try peer.open("CONNECT", body: .streamed, protocol: "websocket") : try peer.open()
    }
    eventually("some fail") { martlet.accessLog.contains("client-stalled") }
    let answers = try streams.map { try peer.answer($0) }
    let complete = answers.count { $0.status == 200 && $0.text == "ok" }
    let reset = answers.count { $0.reset == .cancel && $0.status == 0 }
    #expect(complete > 10 && reset > 0, "\(complete) \(reset)")
    #expect(complete + reset == streams.count)
    #expect(try peer.get().text == "ok")
    #expect(try martlet.terminate() == 0)
  }
}
