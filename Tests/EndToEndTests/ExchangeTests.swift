// Single exchanges over plain HTTP, to the byte: what the client gets and what the backend gets.

import Foundation
import Testing

@Suite(.serialized) struct ExchangeTests {
  @Test func `three backends answer in turn`() throws {
    let backends = try ["a", "b", "c"].map { try Nginx($0) }
    let martlet = try MartletProcess(backends: backends)
    let answers = try (0..<9).map { _ in try martlet.get().text }
    #expect(Set(answers[0..<3]) == ["a\n", "b\n", "c\n"])
    #expect(answers[0..<3] == answers[3..<6] && answers[3..<6] == answers[6..<9])
  }

  @Test func `an HTTP 1.0 client gets an answer that it understands, and a close`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    let head = try wire.takeHead()
    #expect(head.status == 200)
    #expect(head["Transfer-Encoding"] == nil)
    #expect(try wire.takeRest() == Array("hello".utf8))
    #expect(stub.lastRequest?.line == "GET / HTTP/1.1")
  }

  @Test func `HTTP 1.0 with keep-alive keeps the connection when the length is known`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    for _ in 0..<2 {
      let answer = try wire.exchange(
        "GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
      #expect(answer.text == "hello")
      #expect(answer["Connection"]?.lowercased() == "keep-alive")
    }
  }

  @Test func `HEAD has the fields of GET and no body`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let head = try wire.exchange("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    #expect(head.status == 200)
    #expect(head["Content-Length"] == "5")
    // If a body were sent, the next response would begin with it.
    #expect(try wire.get().text == "hello")
  }

  @Test(arguments: [204, 304])
  func `after a response without a body by its status the connection is in sync`(
    _ status: Int
  ) throws {
    let stub = try StubBackend { request, wire in
      if request.target == "/none" {
        let length = status == 304 ? "Content-Length: 42\r\n" : ""
        try wire.send("HTTP/1.1 \(status) Whatever\r\nETag: \"x\"\r\n\(length)\r\n")
      } else {
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
      }
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let none = try wire.get("/none")
    #expect(none.status == status)
    #expect(none["ETag"] == "\"x\"")
    #expect(try wire.get().text == "next")
    // The number of connections would not show it, since a health check opens one too.
    let attempts = try martlet.accessLines(atLeast: 2)[1]["attempts"] as? [[String: Any]]
    #expect(attempts?.first?["reused"] as? Bool == true)
  }

  @Test func `a POST goes through with its body and its length`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "POST /form?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello=world")
    #expect(answer.status == 200)
    let request = try #require(stub.lastRequest)
    #expect(request.line == "POST /form?a=b HTTP/1.1")
    #expect(request["Content-Length"] == "11")
    #expect(request.text == "hello=world")
  }

  @Test func `a chunked upload arrives whole, with its trailers`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        + "5;ext=1\r\nhello\r\n7\r\n, world\r\n0\r\nX-Sum: 12\r\n\r\n")
    #expect(answer.status == 200)
    let request = try #require(stub.lastRequest)
    #expect(request.text == "hello, world")
    #expect(request["Content-Length"] == nil)
    #expect(request.trailers.map(\.name) == ["X-Sum"])
    #expect(request.trailers.map(\.value) == ["12"])
  }

  @Test func `a chunked response arrives whole, with its trailers`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
          + "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    for _ in 0..<2 {
      let answer = try wire.get("/", "TE: trailers\r\n")
      #expect(answer.text == "abcde")
      #expect(answer.trailers.map(\.value) == ["5"])
    }
  }

  @Test func `a response that ends with its connection arrives whole`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\n\r\nuntil the end")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    #expect(try wire.get().text == "until the end")
  }

  @Test func `a response cut short by its backend is seen as cut short`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    #expect(throws: HarnessError.self) { try martlet.get() }
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "truncated-response")
  }

  @Test func `Expect 100-continue is forwarded, and the backend's 100 comes back`() throws {
    let stub = try StubBackend { request, wire in
      try wire.send("HTTP/1.1 100 Continue\r\n\r\n")
      try wire.takeBody(of: &request, isResponse: false)
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(
      "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    #expect(try wire.takeHead().status == 100)
    try wire.send("body")
    #expect(try wire.takeResponse().text == "ok")
    #expect(stub.lastRequest?["Expect"] == "100-continue")
    #expect(stub.lastRequest?.text == "body")
  }

  @Test func `a final answer instead of a 100 reaches a client that still waits`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    #expect(answer.status == 403)
    #expect(answer["Connection"] == "close")
  }

  @Test func `a body that is too large gets 413 before any 100, and no backend sees it`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "body-size": "1KiB" }"#)
    let wire = try martlet.wire()
    try wire.send(
      "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n")
    #expect(try wire.takeHead().status == 413)
    #expect(stub.requests.isEmpty)
  }

  @Test func `a chunked body that grows too large gets 413`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "body-size": "1KiB" }"#)
    let chunk = "400\r\n" + String(repeating: "x", count: 1024) + "\r\n"
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk)
    #expect(answer.status == 413)
  }

  @Test func `an answer before the end of the upload reaches a client that still sends`() throws {
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
      _ = try wire.takeRest()
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n")
    let piece = [UInt8](repeating: 120, count: 100_000)
    // If Martlet reset the connection here, the response would be lost.
    for _ in 0..<5 { try wire.send(piece) }
    let answer = try wire.takeResponse()
    #expect(answer.status == 401)
    #expect(answer["Connection"] == "close")
  }

  /// The response is complete for the backend, but its end doesn't fit into the kernel's buffers
  /// yet, at least for some of these sizes.
  @Test(arguments: [150_000, 160_000, 170_000, 180_000, 190_000])
  func `a request that arrives while its client still reads the last answer is not lost`(
    _ size: Int
  ) throws {
    let body = String(repeating: "x", count: size)
    let stub = try StubBackend { request, wire in
      let text = request.target == "/next" ? "next" : body
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)")
      return true
    }
    let martlet = try MartletProcess(backends: [stub], rest: #""workers": 1"#)
    let wire = try Wire(port: martlet.port, receiveBuffer: 4096)
    try wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = poll(atMost: 1) { !martlet.accessLog.isEmpty }
    try wire.send("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
    // When this is answered, Martlet has handled the event before.
    #expect(try martlet.get("/next").text == "next")
    #expect(try wire.takeResponse().body.count == size)
    #expect(try wire.takeResponse().text == "next")
  }

  @Test func `pipelined requests are answered in order`() throws {
    let stub = try StubBackend { request, wire in
      try wire.send(
        "HTTP/1.1 200 OK\r\nContent-Length: \(request.target.count)\r\n\r\n\(request.target)")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let count = 50
    try wire.send(
      (0..<count).map { "GET /\($0) HTTP/1.1\r\nHost: localhost\r\n\r\n" }.joined())
    for index in 0..<count { #expect(try wire.takeResponse().text == "/\(index)") }
  }

  @Test func `the absolute form is forwarded in origin form, with its own host`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "GET http://example.com/path?q HTTP/1.1\r\nHost: other.example\r\n\r\n")
    #expect(answer.status == 200)
    #expect(stub.lastRequest?.line == "GET /path?q HTTP/1.1")
    #expect(stub.lastRequest?["Host"] == "example.com")
  }

  @Test func `OPTIONS with an asterisk is forwarded as it is`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
    #expect(answer.status == 200)
    #expect(stub.lastRequest?.line == "OPTIONS * HTTP/1.1")
  }

  @Test func `CONNECT gets 501`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let answer = try martlet.answer(
      "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    #expect(answer.status == 501)
    #expect(stub.requests.isEmpty)
  }

  @Test func `Connection close from the client ends the connection after the answer`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    let answer = try wire.get("/", "Connection: close\r\n")
    #expect(answer.text == "hello")
    #expect(answer["Connection"] == "close")
    #expect(wire.endsQuietly())
  }

  @Test func `connections to backends are reused`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#, flags: ["--workers", "1"])
    for _ in 0..<5 { #expect(try martlet.get().status == 200) }
    #expect(stub.connectionCount == 1)
  }

  @Test func `a stale connection to a backend causes no error for the client`() throws {
    // Closes after each response without announcing it.
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": "off""#, flags: ["--workers", "1"])
    for _ in 0..<20 { #expect(try martlet.get().text == "ok") }
    // A POST that is sent while the connection closes may have arrived, and must not be sent again.
    // But a close that has already arrived must not cause an error.
    #expect(poll { !hasEstablishedConnection(toPort: stub.port) })
    #expect(
      try martlet.answer(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").text == "ok")
  }

  @Test func `a slow sender gets the same answer as a fast one`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    for byte in "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello".utf8 {
      try wire.send([byte])
    }
    #expect(try wire.takeResponse().status == 200)
    #expect(stub.lastRequest?.text == "hello")
  }
}
