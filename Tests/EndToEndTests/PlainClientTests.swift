// Clients and backends that don't support all of HTTP/1.1: they write everything before they read,
// send no Host, half-close after a request, or (servers) read no chunks.

import Foundation
import Testing

@Suite(.serialized) struct PlainClientTests {
  // MARK: Writing everything before reading

  /// Sends `size` bytes with Python's client, which reads only after it has written everything.
  private func upload(_ size: Int, to martlet: MartletProcess) throws -> String {
    let script = """
      import http.client
      connection = http.client.HTTPConnection("127.0.0.1", \(martlet.port))
      connection.request("POST", "/", body=b"x" * \(size))
      answer = connection.getresponse()
      print(answer.status, len(answer.read()) > 0)
      """
    let result = try run(["python3", "-c", script])
    return result.output + result.errors
  }

  @Test func `a client that sends far more than the limit reads the 413`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "body-size": "1MiB" }"#)
    #expect(try upload(48 << 20, to: martlet) == "413 True\n")
  }

  @Test func `a client whose upload the backend refuses early reads the 401`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    #expect(try upload(48 << 20, to: martlet) == "401 True\n")
  }

  // MARK: No Host

  @Test func `HTTP 1.0 without Host is forwarded with the backend's address as Host`() throws {
    let nginx = try Nginx("a")
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [nginx])
    #expect(try martlet.answer("GET / HTTP/1.0\r\n\r\n").status == 200)
    let other = try MartletProcess(backends: [stub])
    #expect(try other.answer("GET / HTTP/1.0\r\n\r\n").status == 200)
    let request = try #require(stub.lastRequest)
    #expect(request["Host"] == stub.address)
    // The client did not send this host.
    #expect(request["X-Forwarded-Host"] == nil && request["Forwarded"]?.contains("host=") == false)
    #expect(try other.answer("GET / HTTP/1.0\r\nHost: mine\r\n\r\n").status == 200)
    #expect(stub.lastRequest?["Host"] == "mine")
  }

  // MARK: Half-close

  @Test func `a client that half-closes after a POST gets its answer if that is configured`()
    throws
  {
    let stub = try StubBackend("done")
    let martlet = try MartletProcess(
      backends: [stub], listener: #""half-close": "answer""#)
    let wire = try martlet.wire()
    try wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    wire.finishSending()
    let answer = try wire.takeResponse()
    #expect(answer.status == 200 && answer.text == "done")
    #expect(wire.endsQuietly())
    #expect(stub.lastRequest?.text == "hello")
    // The same for pipelined requests, in their order.
    let second = try martlet.wire()
    try second.send(
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    second.finishSending()
    #expect(try second.takeResponse().text == "done")
    #expect(try second.takeResponse().text == "done")
    #expect(second.endsQuietly())
  }

  @Test func `by default a client that half-closes counts as gone`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend.halving(until: folder.path + "/go")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.finishSending()
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "client-aborted")
    try folder.write("", to: "go")
  }

  @Test func `half a request and a close is an abort in both modes`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], listener: #""half-close": "answer""#,
      rest: #""limits": { "collect-size": "0B" }"#)
    let wire = try martlet.wire()
    try wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    wire.finishSending()
    #expect(wire.endsQuietly())
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "client-aborted")
  }

  @Test func `a client that has closed fully ends the exchange, even with half-closes on`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
      while true { try wire.send([UInt8](repeating: 0x78, count: 65536)) }
    }
    let martlet = try MartletProcess(
      backends: [stub], listener: #""half-close": "answer""#)
    var wire: Wire? = try martlet.wire()
    try wire?.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wire?.finishSending()
    #expect(try wire?.takeHead().status == 200)
    wire = nil
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "client-aborted")
  }

  @Test func `an upgraded client's half-close is passed on`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      try wire.send("\(try wire.takeRest().count) bytes")
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub], listener: #""half-close": "answer""#)
    let wire = try martlet.wire()
    try wire.send(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    wire.finishSending()
    #expect(try wire.takeHead().status == 101)
    #expect(String(decoding: try wire.takeRest(), as: UTF8.self) == "0 bytes")
  }

  // MARK: No chunks

  private static func chunked(_ pieces: [String], trailers: String = "") -> String {
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      + pieces.map { String($0.utf8.count, radix: 16) + "\r\n\($0)\r\n" }.joined()
      + "0\r\n\(trailers)\r\n"
  }

  @Test(arguments: [["hello ", "world"], [], [String(repeating: "x", count: 16384)]])
  func `a small chunked body is collected and forwarded with a length`(_ pieces: [String]) throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "collect-wait": "30s" }"#)
    let wire = try martlet.wire()
    // Several times on one connection, so that a wrong end of the body breaks the next head.
    for _ in 1...3 {
      #expect(try wire.exchange(Self.chunked(pieces)).text == "ok")
      let request = try #require(stub.lastRequest)
      let length = pieces.joined().utf8.count
      #expect(request["Content-Length"] == "\(length)" && request["Transfer-Encoding"] == nil)
      #expect(request.text == pieces.joined() && request[all: "Host"] == ["a"])
    }
    let line = try #require(try martlet.accessLines(atLeast: 3).last)
    #expect(line["received"] as? Int == pieces.joined().utf8.count)
  }

  @Test func `a body that is longer, has trailers, or arrives slowly stays chunked`() throws {
    let stub = try StubBackend("ok")
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "collect-wait": "30s" }"#)
    let long = String(repeating: "y", count: 16385)
    #expect(try martlet.answer(Self.chunked([long])).text == "ok")
    #expect(stub.lastRequest?["Transfer-Encoding"] == "chunked" && stub.lastRequest?.text == long)
    #expect(try martlet.answer(Self.chunked(["a"], trailers: "X: y\r\n")).text == "ok")
    #expect(stub.lastRequest?["Transfer-Encoding"] == "chunked")
    #expect(stub.lastRequest?.trailers.map(\.value) == ["y"])

    let hasty = try MartletProcess(
      backends: [stub], rest: #""limits": { "collect-wait": "0s" }"#)
    let wire = try hasty.wire()
    let seen = stub.requests.count
    try wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na")
    #expect(poll { stub.requests.count > seen })
    #expect(try wire.exchange("\r\n0\r\n\r\n").text == "ok")
    #expect(stub.lastRequest?["Transfer-Encoding"] == "chunked")
  }

  @Test func `a WSGI server reads a chunked body`() throws {
    let folder = TemporaryFolder()
    let port = try freePort()
    let script = """
      from wsgiref.simple_server import make_server, WSGIRequestHandler
      class Quiet(WSGIRequestHandler):
          def log_message(self, *a): pass
      def app(environ, start):
          body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
          start("200 OK", [("Content-Type", "text/plain")])
          return [b"got " + body]
      make_server("127.0.0.1", \(port), app, handler_class=Quiet).serve_forever()
      """
    let server = try ChildProcess(["python3", "-c", script], in: folder.path)
    defer { server.signal(SIGKILL) }
    let martlet = try MartletProcess(backends: ["127.0.0.1:\(port)"])
    try eventually("it is up") { try martlet.get().status == 200 }
    #expect(try martlet.answer(Self.chunked(["hello ", "world"])).text == "got hello world")
  }
}
