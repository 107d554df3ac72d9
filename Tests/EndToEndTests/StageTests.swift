// Stages that wait, answer, or change bodies: faults on purpose, and gRPC-Web.

import Foundation
import HTTP
import HTTP2
import Testing

@Suite(.serialized) struct StageTests {
  // MARK: Faults

  private func routes(_ fault: String) -> String {
    """
    "routes": [{ "path": "/", "forward": "default", "fault": \(fault) },
      { "path": "/plain", "forward": "default" },
      { "path": "/moved", "redirect": { "path": "/" }, "fault": \(fault) }]
    """
  }

  @Test func `a route answers a part of its requests with an error`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: routes(#"{ "abort": 418, "abort-percent": 50 }"#))
    let client = try martlet.wire()
    var statuses: [Int: Int] = [:]
    for _ in 0..<200 { statuses[try client.get("/x").status, default: 0] += 1 }
    #expect(Set(statuses.keys) == [200, 418])
    // 200 draws with 50 percent: below 40 once in 10^18 times.
    #expect(statuses.values.allSatisfy { $0 > 40 })
    for _ in 0..<20 { #expect(try client.get("/plain").status == 200) }
    let failed = try martlet.accessLines(atLeast: 220).filter { $0["status"] as? Int == 418 }
    #expect(failed.count == statuses[418])
    #expect(failed.allSatisfy { $0["failure"] as? String == "fault-injected" })
  }

  @Test(arguments: ["/x", "/moved"])
  func `a delayed request holds up only itself`(path: String) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub], rest: routes(#"{ "delay": "1s" }"#))
    let (slow, gone, fast) = (try martlet.wire(), try martlet.wire(), try martlet.wire())
    let start = ContinuousClock.now
    // An answer before the end of a body would end the connection.
    try slow.send(
      path == "/x"
        ? "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        : "GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
    try gone.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(try fast.get("/plain").status == 200)
    #expect(ContinuousClock.now - start < .seconds(1))
    gone.end()
    #expect(try slow.takeResponse().status == (path == "/x" ? 200 : 308))
    #expect(ContinuousClock.now - start >= .seconds(1))
    // The connection is in sync.
    #expect(try slow.get("/plain").status == 200)
    if path == "/x" {
      let request = stub.requests.first { $0.method == "POST" }
      #expect(request?.body == Array("hello".utf8))
    }
    let lines = try martlet.accessLines(atLeast: 4)
    #expect(lines.contains { $0["failure"] as? String == "client-aborted" })
  }

  @Test func `a delay ends at the end of a drain`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], listener: #""protocols": ["h2", "http/1.1"]"#,
      rest: routes(#"{ "delay": "60s" }"#) + #", "limits": { "drain": "1s" }"#)
    let client = try martlet.wire()
    try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let (stream, peer) = try { (try $0.open(), $0) }(HTTP2Peer(martlet))
    try peer.ping()
    eventually("both wait") { (try? martlet.get("/plain").status) == 200 }
    #expect(try martlet.terminate() == 70)
    #expect(try client.takeResponse().status == 503)
    #expect(try peer.answer(stream).status == 503)
  }

  // MARK: gRPC-Web

  /// A call whose response has two messages and a status, by HTTP/2 with trailers.
  private func backend() throws -> (StubBackend, MartletProcess) {
    let stub = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "3\r\none\r\n3\r\ntwo\r\n0\r\nGrpc-Status: 7\r\nX-More: a b\r\n\r\n")
      return true
    }
    let inner = try MartletProcess(backends: [stub], listener: #""protocols": ["h2"]"#)
    return (stub, inner)
  }

  private func translating(_ inner: MartletProcess) throws -> MartletProcess {
    try MartletProcess(
      backends: ["127.0.0.1:\(inner.ports[0])"], pool: #""protocol": "h2""#,
      listener: #""protocols": ["h2", "http/1.1"]"#,
      rest: #""routes": [{ "forward": "default", "grpc-web": true }]"#)
  }

  private static let trailers: [UInt8] = {
    let text = "grpc-status: 7\r\nx-more: a b\r\n"
    return [0x80, 0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8)
  }()

  private func call(_ type: String, _ body: String) -> String {
    "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: \(type)\r\nContent-Length: "
      + "\(body.utf8.count)\r\n\r\n\(body)"
  }

  @Test func `a call of gRPC-Web is translated, and its trailers are in the body`() throws {
    let (stub, inner) = try backend()
    let martlet = try translating(inner)
    let client = try martlet.wire()
    for _ in 0..<2 {
      let answer = try client.exchange(call("application/grpc-web+proto", "message"))
      #expect(answer.status == 200 && answer["content-type"] == "application/grpc-web+proto")
      #expect(answer.body == Array("onetwo".utf8) + Self.trailers)
    }
    #expect(stub.lastRequest?["content-type"] == "application/grpc+proto")
    #expect(stub.lastRequest?.body == Array("message".utf8))
    #expect(try martlet.accessLines(atLeast: 2).map { $0["grpc_status"] as? Int } == [7, 7])

    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open(
      "POST", "/a.B/C", [("content-type", "application/grpc-web")], body: .streamed)
    try peer.send(Array("m".utf8), on: stream, ends: true)
    let answer = try peer.answer(stream)
    #expect(answer.body == Array("onetwo".utf8) + Self.trailers && answer.trailers.isEmpty)
  }

  @Test func `the text form is in base64 both ways`() throws {
    let (stub, inner) = try backend()
    let martlet = try translating(inner)
    let message = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let client = try martlet.wire()
    let answer = try client.exchange(
      call("application/grpc-web-text", Data(message).base64EncodedString()))
    #expect(answer["content-type"] == "application/grpc-web-text+proto")
    let text = String(decoding: answer.body, as: UTF8.self)
    // Each part may have padding of its own.
    var decoded: [UInt8] = []
    var group = ""
    for character in text {
      group.append(character)
      if group.count == 4 {
        decoded += Array(Data(base64Encoded: group) ?? Data())
        group = ""
      }
    }
    #expect(decoded == Array("onetwo".utf8) + Self.trailers)
    #expect(stub.lastRequest?.body == message)
    #expect(stub.lastRequest?["content-length"] == nil)

    let bad = try client.exchange(call("application/grpc-web-text", "!!!!"))
    // The backend was asked already; the client learns the status of gRPC.
    #expect(bad.status == 200 && bad["grpc-status"] == "13")
    #expect(bad["content-type"] == "application/grpc-web-text+proto")
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.last?["reason"] as? String == "bad-base64")
  }

  @Test func `a body that arrives while a stage waits is transformed too`() throws {
    let (stub, inner) = try backend()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(inner.ports[0])"], pool: #""protocol": "h2""#,
      rest: """
        "routes": [{ "forward": "default", "grpc-web": true, "fault": { "delay": "300ms" } }]
        """)
    let client = try martlet.wire()
    try client.send(
      "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web-text\r\n"
        + "Transfer-Encoding: chunked\r\n\r\n6\r\naGVsbG\r\n")
    // The second half of a group of base64 comes when the request waits already.
    eventually("it is delayed") { martlet.hasDelayed }
    try client.send("2\r\n8=\r\n0\r\n\r\n")
    #expect(try client.takeResponse().status == 200)
    #expect(stub.lastRequest?.body == Array("hello".utf8))
  }

  @Test func `a response of a stated length keeps its status`() throws {
    let backend = try HTTP2Stub { _ in
      .respond(
        [("content-type", "application/grpc"), ("content-length", "3")], body: Array("one".utf8),
        trailers: [("grpc-status", "7")])
    }
    let martlet = try MartletProcess(
      backends: [backend], pool: #""protocol": "h2""#,
      rest: #""routes": [{ "forward": "default", "grpc-web": true }]"#)
    let answer = try martlet.answer(call("application/grpc-web", "m"))
    let status = "grpc-status: 7\r\n"
    #expect(
      answer.body == Array("one".utf8) + [0x80, 0, 0, 0, UInt8(status.utf8.count)]
        + Array(status.utf8))
    #expect(try martlet.accessLines(atLeast: 1).first?["grpc_status"] as? Int == 7)
  }

  @Test func `trailers of another exchange don't end a response that waited`() throws {
    let message: [UInt8] = [0, 0, 0, 0, 5] + Array("hello".utf8)
    let stub = try HTTP2Stub { request in
      if request.path == "/other" {
        return .respond(body: [1], trailers: [("x-other", "4711"), ("grpc-status", "0")])
      }
      return .respond(
        [("content-type", "application/grpc")], body: message, trailers: [("grpc-status", "0")])
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2""#, listener: #""protocols": ["h2"]"#,
      rest: #""workers": 1, "routes": [{ "forward": "default", "grpc-web": true }]"#)
    var limits = HTTP2Limits()
    // The message, and two bytes of the frame with the trailers.
    limits.streamWindow = 12
    let peer = try HTTP2Peer(martlet, limits)
    let stream = try peer.open(
      "POST", "/a.B/C", [("content-type", "application/grpc-web")], body: .streamed)
    peer.unread = [stream]
    try peer.send(message, on: stream, ends: true)
    try peer.wait("the window is full") { $0.answers[stream]?.body.count == 12 }
    let other = try HTTP2Peer(martlet).get("/other", [("te", "trailers")])
    #expect(other.trailers.contains { $0.value == "4711" })
    try peer.consume(12, of: stream)
    peer.unread = []
    let answer = try peer.answer(stream)
    #expect(answer.hasEnded && answer.trailers.isEmpty, "\(answer.trailers)")
    let status = "grpc-status: 0\r\n"
    #expect(answer.body == message + [0x80, 0, 0, 0, UInt8(status.utf8.count)] + Array(status.utf8))
  }

  @Test func `a client that can't take the head of a call gets a reset, no success`() throws {
    let stub = try HTTP2Stub { _ in
      .respond(
        [("content-type", "application/grpc"), ("a", String(repeating: "x", count: 2000))],
        body: [0, 0, 0, 0, 0], trailers: [("grpc-status", "0")])
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2""#, listener: #""protocols": ["h2"]"#,
      rest: #""routes": [{ "forward": "default", "grpc-web": true }]"#)
    var limits = HTTP2Limits()
    limits.fieldListByteCount = 100
    let peer = try HTTP2Peer(martlet, limits)
    let stream = try peer.open(
      "POST", "/a.B/C", [("content-type", "application/grpc-web")], body: .streamed)
    try peer.send([0, 0, 0, 0, 0], on: stream, ends: true)
    let answer = try peer.answer(stream)
    #expect(answer.reset == .internalError && answer.status == 0, "\(answer)")
  }

  @Test func `an error on purpose is a status of gRPC-Web`() throws {
    let martlet = try MartletProcess(
      backends: [try HTTP2Stub { _ in .nothing }], pool: #""protocol": "h2""#,
      rest: #""routes": [{ "forward": "default", "grpc-web": true, "fault": { "abort": 503 } }]"#)
    let answer = try martlet.answer(call("application/grpc-web", "m"))
    #expect(answer.status == 200 && answer["grpc-status"] == "14")
    #expect(try martlet.answer(call("text/plain", "m")).status == 503)
  }

  /// A call of which the backend sends the message, and then nothing.
  private func begun(_ type: String, _ message: [UInt8], over http2: Bool) throws -> (
    type: String?, body: [UInt8]?, line: [String: Any]?
  ) {
    let martlet = try MartletProcess(
      backends: [try HTTP2Server()], pool: #""protocol": "h2""#,
      listener: #""protocols": ["h2", "http/1.1"]"#,
      rest: #""routes": [{ "forward": "default", "grpc-web": true }]"#)
    let isText = type.contains("text")
    let body = isText ? Array(Data(message).base64EncodedString().utf8) : message
    let fields = [("content-type", type), ("grpc-timeout", "400m")]
    if http2 {
      let peer = try HTTP2Peer(martlet)
      let stream = try peer.open("POST", "/a.B/Begin", fields, body: .streamed)
      try peer.send(body, on: stream, ends: true)
      let answer = try peer.answer(stream)
      let line = try martlet.accessLines(atLeast: 1).first
      return (answer["content-type"], answer.reset == .internalError ? nil : answer.body, line)
    }
    let wire = try martlet.wire()
    let head = fields.map { "\($0.0): \($0.1)\r\n" }.joined()
    try wire.send("POST /a.B/Begin HTTP/1.1\r\nHost: a\r\n\(head)Content-Length: ")
    try wire.send(Array("\(body.count)\r\n\r\n".utf8) + body)
    var answer = try wire.takeHead()
    let isWhole = (try? wire.takeBody(of: &answer, isResponse: true)) != nil
    let line = try martlet.accessLines(atLeast: 1).first
    return (answer["Content-Type"], isWhole ? answer.body : nil, line)
  }

  @Test(arguments: [false, true], [false, true])
  func `a call that fails within its response has a status`(_ http2: Bool, _ isText: Bool) throws {
    let message: [UInt8] = [0, 0, 0, 0, 3] + Array("one".utf8)
    let type = isText ? "application/grpc-web-text" : "application/grpc-web"
    let answer = try begun(type, message, over: http2)
    #expect(answer.type == "\(type)+proto")
    var body = answer.body
    if isText, let text = answer.body {
      let first = Data(message).base64EncodedString().utf8.count
      body = [text.prefix(first), text.dropFirst(first)].flatMap {
        Array(Data(base64Encoded: String(decoding: $0, as: UTF8.self)) ?? Data())
      }
    }
    let frame = try #require(body).dropFirst(message.count)
    #expect(body?.starts(with: message) == true)
    #expect(frame.prefix(5) == [0x80, 0, 0, 0, UInt8(max(5, frame.count) - 5)])
    let text = String(decoding: frame.dropFirst(5), as: UTF8.self)
    let status = "grpc-status: 4\r\ngrpc-message: the call did not end before its deadline; "
    #expect(text.hasPrefix(status), "\(text)")
    #expect(answer.line?["grpc_status"] as? Int == 4)
    #expect(answer.line?["failure"] as? String == "deadline-exceeded")
  }

  @Test(arguments: [false, true])
  func `a call that fails within a message is cut`(_ http2: Bool) throws {
    // Four bytes of the message don't come.
    let message: [UInt8] = [0, 0, 0, 0, 7] + Array("one".utf8)
    #expect(try begun("application/grpc-web", message, over: http2).body == nil)
  }

  @Test(arguments: ["application/grpc", "application/grpc-web"])
  func `the deadline of a call limits its delay`(_ type: String) throws {
    let backend = try HTTP2Stub { _ in .respond() }
    let martlet = try MartletProcess(
      backends: [backend], pool: #""protocol": "h2", "timeouts": { "grpc-max": "30m" }"#,
      listener: #""protocols": ["h2"]"#,
      rest: #"""
        "routes": [{ "forward": "default", "grpc-web": true, "fault": { "delay": "1m" } }]
        """#)
    let peer = try HTTP2Peer(martlet)
    let fields = [("content-type", type), ("grpc-timeout", "300m")]
    let answer = try peer.answer(peer.open("POST", "/a.B/C", fields))
    #expect(answer.status == 200 && answer["grpc-status"] == "4")
    #expect(answer["content-type"]?.hasPrefix(type) == true && backend.requests.isEmpty)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "deadline-exceeded")
  }

  @Test func `other requests of the route go on as they are`() throws {
    let (stub, inner) = try backend()
    let martlet = try translating(inner)
    let answer = try martlet.answer(call("application/json", "{}"))
    #expect(answer["content-type"] == "application/grpc")
    #expect(answer.body == Array("onetwo".utf8))
    #expect(stub.lastRequest?["content-type"] == "application/json")
  }

  @Test func `an error of Martlet's is a status of gRPC-Web`() throws {
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(try freePort())"], pool: #""protocol": "h2""#,
      rest: #""routes": [{ "forward": "default", "grpc-web": true }]"#)
    let client = try martlet.wire()
    for _ in 0..<2 {
      let answer = try client.exchange(call("application/grpc-web", "m"))
      #expect(answer.status == 200 && answer["grpc-status"] == "14" && answer.body.isEmpty)
      #expect(answer["content-type"] == "application/grpc-web+proto")
    }
  }
}

extension MartletProcess {
  /// Whether a fault has delayed a request.
  fileprivate var hasDelayed: Bool {
    let curl = ["curl", "-sS", "--unix-socket", folder.path("admin.sock"), "http://a/metrics"]
    return (try? run(curl).output)?.contains("martlet_faults_total{kind=\"delay\"} 1") ?? false
  }
}
