// What is special about gRPC: errors, the log, and bodies that are not collected. The backends here
// are stubs with HTTP/1, since only what Martlet does is of interest.

import Foundation
import HTTP
import HTTP2
import Testing

@Suite(.serialized) struct GRPCTests {
  private static let grpc = [("content-type", "application/grpc"), ("te", "trailers")]

  private func start(_ stub: StubBackend, rest: String = "") throws -> MartletProcess {
    try MartletProcess(
      backends: [stub], listener: #""protocols": ["h2", "http/1.1"]"#, rest: rest)
  }

  @Test func `an error of Martlet's is a status of gRPC without a body`() throws {
    let port = try freePort()
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(port)"], listener: #""protocols": ["h2"]"#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("POST", "/a.B/C", Self.grpc, body: .streamed)
    let answer = try peer.answer(stream)
    #expect(answer.status == 200 && answer.body.isEmpty)
    #expect(answer["content-type"] == "application/grpc")
    // 502: unavailable.
    #expect(answer["grpc-status"] == "14")
    let message = answer["grpc-message"] ?? ""
    #expect(message.hasPrefix("the service is not working as it should; request "))
    // Another client gets an error of HTTP.
    #expect(try peer.get().status == 502)
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(message.hasSuffix(lines.first?["request_id"] as? String ?? "none"))
    #expect(lines.first?["status"] as? Int == 502 && lines.first?["grpc_status"] as? Int == 14)
    #expect(lines.last?["grpc_status"] == nil)
  }

  @Test func `tap shows the version and the status of a call`() throws {
    let stub = try HTTP2Stub { _ in
      .respond([("content-type", "application/grpc"), ("grpc-status", "5")])
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""protocol": "h2", "health": "off""#,
      listener: #""protocols": ["h2"]"#)
    let tap = try ChildProcess(
      [Installation.binary, "tap", "--socket", martlet.folder.path("admin.sock")])
    let peer = try HTTP2Peer(martlet)
    // It doesn't show when tapping has started.
    try eventually("a line is shown") {
      _ = try peer.answer(peer.open("POST", "/a.B/C", Self.grpc))
      return tap.outputText.contains("\n")
    }
    tap.signal(SIGTERM)
    _ = try tap.waitForExit()
    #expect(tap.outputText.contains(" /a.B/C HTTP/2 200 grpc-status 5 ok 0 "), "\(tap.outputText)")
  }

  @Test func `the status of a call is logged, from trailers and from a head`() throws {
    let stub = try StubBackend { request, wire in
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send(
        request.target == "/head"
          ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\ngrpc-status: 5\r\n\r\n"
          : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
            + "grpc-status: 7\r\n\r\n")
      return true
    }
    let martlet = try start(stub)
    let peer = try HTTP2Peer(martlet)
    for path in ["/head", "/trailers"] {
      let stream = try peer.open("POST", path, Self.grpc, body: .streamed)
      try peer.send(Array("x".utf8), on: stream, ends: true)
      #expect(try peer.answer(stream).status == 200)
    }
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.map { $0["grpc_status"] as? Int } == [5, 7])
  }

  @Test func `a call isn't collected, since its client may wait for a response`() throws {
    let stub = try StubBackend { request, wire in
      // Responds to the first message, before the second one is sent.
      _ = try wire.take(until: "one")
      try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
      _ = try wire.take(until: "two")
      try wire.send("0\r\n\r\n")
      return false
    }
    let inner = try MartletProcess(
      backends: [stub], listener: #""protocols": ["h2"]"#,
      rest: #""limits": { "collect-size": "0B" }"#)
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(inner.port)"], pool: #""protocol": "h2""#,
      listener: #""protocols": ["h2"]"#, rest: #""limits": { "collect-wait": "60s" }"#)
    let peer = try HTTP2Peer(martlet)
    let stream = try peer.open("POST", "/", Self.grpc, body: .streamed)
    try peer.send(Array("one".utf8), on: stream)
    try peer.wait("the response") { $0.answers[stream]?.text == "ok" }
    try peer.send(Array("two".utf8), on: stream, ends: true)
    #expect(try peer.answer(stream).hasEnded)
  }
}
