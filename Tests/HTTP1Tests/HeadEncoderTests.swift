// Encoded heads, and that they have the same meaning as the parsed ones.

import HTTP
import HTTP1
import Primitives
import Testing

struct HeadEncoderTests {
  private func encoded(
    _ text: String, body: BodyLength = .none, connection: ConnectionOption = .keepAlive,
    edit: (inout RequestHead) -> Void = { _ in }
  ) throws -> String {
    try withRequest(text) { head in
      edit(&head)
      var output = ByteBuffer()
      head.encode(body: body, connection: connection, into: &output)
      return String(decoding: output)
    }
  }

  private func encodedResponse(
    _ text: String, for version: HTTPVersion = .http11, body: BodyLength,
    connection: ConnectionOption = .keepAlive
  ) throws -> String {
    try withResponse(text) { head in
      var output = ByteBuffer()
      head.encode(for: version, body: body, connection: connection, into: &output)
      return String(decoding: output)
    }
  }

  @Test(arguments: [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "X-Y /a?b HTTP/1.1\r\nHost: a:81\r\nA:b\r\nC: \r\nd:  e \r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET /? HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
  ])
  func aRequestWithoutEditsGoesOutAsItCame(text: String) throws {
    #expect(try encoded(text) == text)
  }

  @Test(arguments: [
    ("GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    ("GET http://b/ HTTP/1.0\r\nA: 1\r\n\r\n", "GET / HTTP/1.1\r\nA: 1\r\nHost: b\r\n\r\n"),
  ])
  func targetsBecomeOriginFormWithHost(text: String, expected: String) throws {
    #expect(try encoded(text) == expected)
  }

  @Test func framingIsWrittenOnceAndOnlyFromTheArguments() throws {
    let text = """
      POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nA: 1\r\ntransfer-encoding: x\r\n\
      Connection: close, b\r\nKeep-Alive: 3\r\nB: 2\r\nProxy-Connection: close\r\n\r\n
      """
    let kept = "POST / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n"
    #expect(try encoded(text) == kept + "\r\n")
    #expect(try encoded(text, body: .known(7)) == kept + "Content-Length: 7\r\n\r\n")
    #expect(try encoded(text, body: .streamed) == kept + "Transfer-Encoding: chunked\r\n\r\n")
    #expect(try encoded(text, connection: .close) == kept + "Connection: close\r\n\r\n")
    #expect(try encoded(text, connection: .upgrade) == kept + "Connection: upgrade\r\n\r\n")
  }

  @Test func editsShowAndTheOrderStays() throws {
    let text = "GET /a HTTP/1.1\r\nA: 1\r\nHost: a\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"
    let output = try encoded(text) { head in
      head.fields.remove(at: 0)
      head.fields.remove(at: 3)
      head.fields.append(.via, "1.1 m")
      head.path = head.fields.store(("/new" as StaticString).bytes)
      head.query = head.fields.store(("q" as StaticString).bytes)
      head.fields.append(.forwarded, "for=x")
    }
    #expect(
      output == """
        GET /new?q HTTP/1.1\r\nHost: a\r\nB: 2\r\nD: 4\r\nVia: 1.1 m\r\nForwarded: for=x\r\n\r\n
        """)
  }

  @Test func aRequestOfOurOwnNeedsNoText() {
    var head = RequestHead()
    head.method = .head
    var output = ByteBuffer()
    head.encode(body: .none, connection: .close, into: &output)
    let text = String(decoding: output)
    #expect(text == "HEAD / HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n")
  }

  @Test func theReturnedFramingFitsTheHead() throws {
    try withRequest("GET / HTTP/1.1\r\nHost: a\r\n\r\n") { head in
      var output = ByteBuffer()
      for body in [BodyLength.none, .known(0), .known(3), .streamed] {
        output.removeAll()
        let framing = head.encode(body: body, connection: .close, into: &output)
        let stated = try withRequest(String(decoding: output)) { try $0.framing() }
        #expect(framing == stated)
      }
    }
    try withResponse("HTTP/1.1 200 OK\r\n\r\n") { head in
      var output = ByteBuffer()
      for version in [HTTPVersion.http10, .http11] {
        for body in [BodyLength.known(0), .known(3), .streamed] {
          output.removeAll()
          let framing = head.encode(
            for: version, body: body, connection: .keepAlive, into: &output)
          let (stated, persists) = try withResponse(String(decoding: output)) {
            (try $0.framing(answering: .get), $0.persists(framing: framing))
          }
          #expect(framing == stated)
          #expect(persists == (framing != .untilClose))
        }
      }
    }
  }

  @Test func responsesGoOutInOurVersion() throws {
    let text = "HTTP/1.0 404 Nope\r\nA: 1\r\nConnection: x\r\nContent-Length: 9\r\n\r\n"
    let kept = "HTTP/1.1 404 Nope\r\nA: 1\r\n"
    #expect(try encodedResponse(text, body: .known(3)) == kept + "Content-Length: 3\r\n\r\n")
    #expect(
      try encodedResponse(text, body: .streamed) == kept + "Transfer-Encoding: chunked\r\n\r\n")
    #expect(
      try encodedResponse(text, body: .known(3), connection: .close)
        == kept + "Content-Length: 3\r\nConnection: close\r\n\r\n")
  }

  @Test func http10ClientsGetNoChunks() throws {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    #expect(
      try encodedResponse(text, for: .http10, body: .streamed)
        == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    #expect(
      try encodedResponse(text, for: .http10, body: .known(3))
        == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n")
  }

  @Test(arguments: [
    (200, "9", "Content-Length: 9\r\n"), (304, "9", "Content-Length: 9\r\n"), (204, "9", ""),
    (101, "9", ""), (200, "x", ""), (200, "9\r\nContent-Length: 9", "Content-Length: 9\r\n"),
  ])
  func aLengthWithoutABodyIsKeptWhereItHasAMeaning(
    status: Int, value: String, expected: String
  ) throws {
    let text = "HTTP/1.1 \(status) X\r\nContent-Length: \(value)\r\n\r\n"
    #expect(try encodedResponse(text, body: .none) == "HTTP/1.1 \(status) X\r\n\(expected)\r\n")
  }

  @Test(arguments: [
    (200, "OK"), (413, "Content Too Large"), (431, "Request Header Fields Too Large"), (599, ""),
  ])
  func aMissingReasonIsFilledIn(status: UInt16, reason: String) {
    var head = ResponseHead()
    head.status = status
    var output = ByteBuffer()
    head.encode(for: .http11, body: .known(0), connection: .keepAlive, into: &output)
    let text = String(decoding: output)
    #expect(text == "HTTP/1.1 \(status) \(reason)\r\nContent-Length: 0\r\n\r\n")
  }

  @Test func interimResponsesSayNothingAboutBodiesOrTheConnection() throws {
    let text = try withResponse(
      "HTTP/1.1 103 Early Hints\r\nConnection: close\r\nLink: x\r\nContent-Length: 3\r\n\r\n"
    ) { head in
      var output = ByteBuffer()
      head.encodeInterim(into: &output)
      return String(decoding: output)
    }
    #expect(text == "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
  }
}
