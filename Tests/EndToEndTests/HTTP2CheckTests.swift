// Health checks over HTTP/2, and those of gRPC: what they send, and why they fail.

import Foundation
import HTTP2
import Testing

@Suite(.serialized) struct HTTP2CheckTests {
  private static let pace = #""interval": "100ms", "fast-interval": "100ms", "rise": 1, "fall": 1"#

  private func start(_ backend: any ConfiguredBackend, _ keys: String) throws -> MartletProcess {
    try MartletProcess(
      backends: [backend], pool: #""protocol": "h2", "health": { \#(keys), \#(Self.pace) }"#)
  }

  /// Waits until the backend is down, and returns why.
  private func reason(_ martlet: MartletProcess) throws -> String {
    eventually("it is down") { martlet.log.contains("backend down") }
    let line = try #require(
      martlet.log.split(separator: "\n").first { $0.contains("backend down: checks-failed") })
    let text = try #require(line.split(separator: "reason=").last)
    return text.hasPrefix("\"") ? String(text.dropFirst().dropLast()) : String(text)
  }

  private static func health(_ status: UInt8?, _ result: String = "0") -> HTTP2Stub.Reply {
    .respond(
      [("content-type", "application/grpc")],
      body: status.map { [0, 0, 0, 0, 2, 8, $0] } ?? [0, 0, 0, 0, 0],
      trailers: [("grpc-status", result)])
  }

  @Test func `a check is a request over HTTP 2`() throws {
    let stub = try HTTP2Stub { request in .respond(status: request.path == "/up?a" ? 204 : 500) }
    let martlet = try start(
      stub, #""check": "http", "path": "/up?a", "host": "a.example", "initially": "down""#)
    try eventually("it is up") { try martlet.get().status != 503 }
    let check = try #require(stub.requests.first)
    #expect(check.method == "GET" && check.authority == "a.example")
    #expect(check.fields["user-agent"] == "martlet-health")
  }

  @Test func `status shows HTTP 2 only after the backend has spoken it`() throws {
    let stub = try HTTP2Stub { _ in .respond(status: 200) }
    let silent = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub, silent], pool: #""protocol": "h2", "health": "off", "ejection": "off""#)
    func spoken(_ backend: String) throws -> String? {
      let status = try run(
        [Installation.binary, "status", "--socket", martlet.folder.path("admin.sock")]
      ).output
      let row = try #require(status.split(separator: "\n").first { $0.contains(backend) })
      return row.split(separator: " ", omittingEmptySubsequences: true).dropFirst(2).first
        .map(String.init)
    }
    #expect(try spoken(stub.address) == "-" && spoken(silent.address) == "-")
    for _ in 0..<2 { #expect(try martlet.get().status == 200) }
    #expect(try spoken(stub.address) == "h2" && spoken(silent.address) == "-")
  }

  @Test func `a check fails by the status of its response`() throws {
    let stub = try HTTP2Stub { _ in .respond(status: 503) }
    let martlet = try start(stub, #""check": "http""#)
    #expect(try reason(martlet) == "status 503, expected 200-399")
  }

  @Test(arguments: ["", "a.b.Service"])
  func `a gRPC check asks for a service, and passes if it is serving`(_ service: String) throws {
    let stub = try HTTP2Stub { request in
      request.path == "/grpc.health.v1.Health/Check" ? Self.health(1) : .respond(status: 200)
    }
    let martlet = try start(
      stub, #""check": "grpc", "service": "\#(service)", "initially": "down""#)
    try eventually("it is up") { try martlet.get().status == 200 }
    let check = try #require(stub.requests.first)
    #expect(check.method == "POST" && check.authority == stub.address)
    #expect(check.fields["content-type"] == "application/grpc")
    #expect(check.fields["te"] == "trailers" && check.fields["grpc-timeout"] == "2000m")
    let name = Array(service.utf8)
    let message: [UInt8] = name.isEmpty ? [] : [0x0A, UInt8(name.count)] + name
    #expect(check.body == [0, 0, 0, 0, UInt8(message.count)] + message)
  }

  @Test(arguments: [
    (health(2), "grpc-not-serving"), (health(nil), "grpc-not-serving"),
    (health(1, "5"), "grpc-status 5 (not-found)"),
    (.respond([("grpc-status", "12")]), "grpc-status 12 (unimplemented)"),
    (.respond(status: 404), "status 404, expected 200"),
    (.respond(body: [1, 2, 3]), "bad-response: not a valid gRPC response"),
    (.respond(body: [UInt8](repeating: 0, count: 60_000), trailers: [("grpc-status", "0")]),
      "bad-response: not a valid gRPC response"),
    (.respond(body: [0, 0, 0, 0, 9, 8, 1], trailers: [("grpc-status", "0")]),
      "bad-response: not a valid gRPC response"),
    (.reset(.internalError), "reset-before-response"),
  ] as [(HTTP2Stub.Reply, String)])
  func `a gRPC check says why it fails`(_ reply: HTTP2Stub.Reply, _ expected: String) throws {
    let stub = try HTTP2Stub { _ in reply }
    let martlet = try start(stub, #""check": "grpc""#)
    #expect(try reason(martlet) == expected)
    let word = expected.prefix { $0 != " " && $0 != ":" }
    let page = try martlet.metrics()
    #expect(page.contains("result=\"\(word)\""))
  }

  @Test func `a gRPC check that gets no answer times out`() throws {
    let stub = try HTTP2Stub { _ in .nothing }
    let martlet = try start(stub, #""check": "grpc", "timeout": "200ms""#)
    #expect(try reason(martlet) == "timeout after 200ms")
  }

  @Test(arguments: ["http", "grpc"])
  func `a backend that speaks only HTTP 1 has one word everywhere`(_ kind: String) throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
      return false
    }
    let martlet = try start(stub, #""check": "\#(kind)", "timeout": "5s""#)
    #expect(try reason(martlet) == "no-http2")
    #expect(try martlet.get().status == 503)
    let page = try run([
      "curl", "-sS", "--unix-socket", martlet.folder.path("admin.sock"), "http://a/v1/state",
    ]).output
    #expect(page.contains(#""result":"no-http2""#))
  }

  @Test func `a server of gRPC's own library passes and fails`() throws {
    let folder = TemporaryFolder()
    let port = try freePort()
    try folder.write(
      """
      import grpc, os, sys
      from concurrent import futures
      class Health(grpc.GenericRpcHandler):
        def service(self, call):
          if call.method != "/grpc.health.v1.Health/Check": return None
          def check(request, context):
            if request != b"\\x0a\\x03a.B": context.abort(grpc.StatusCode.NOT_FOUND, "no")
            return b"\\x08\\x02" if os.path.exists("down") else b"\\x08\\x01"
          return grpc.unary_unary_rpc_method_handler(check)
      server = grpc.server(futures.ThreadPoolExecutor(2))
      server.add_generic_rpc_handlers((Health(),))
      server.add_insecure_port("127.0.0.1:\(port)")
      server.start()
      server.wait_for_termination()
      """, to: "server.py")
    let child = try ChildProcess(
      ["/usr/bin/python3", "server.py"], in: folder.path,
      environment: ["PYTHONPATH": Installation.root + "/.build-tools"])
    defer { child.signal(SIGKILL) }
    let martlet = try start(
      "127.0.0.1:\(port)", #""check": "grpc", "service": "a.B", "initially": "down""#)
    eventually("it is up") { martlet.log.contains("backend up") }
    try folder.write("", to: "down")
    #expect(try reason(martlet) == "grpc-not-serving")
    let other = try start("127.0.0.1:\(port)", #""check": "grpc", "service": "c.D""#)
    #expect(try reason(other) == "grpc-status 5 (not-found)")
  }
}
