// Response heads, and where their rules are less strict than for requests.

import HTTP
import HTTP1
import Primitives
import Testing

struct ResponseParserTests {
  private func outcome(_ text: String) -> String {
    responseOutcome(text) { head in
      let reason = String(decoding: head.bytes(of: head.reason))
      return "\(head.version.name) \(head.status) \(reason)\(describeFields(head.fields))"
    }
  }

  @Test(arguments: [
    ("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK"),
    ("HTTP/1.0 404 Not  Found\r\nA: b\r\n\r\n", "HTTP/1.0 404 Not  Found + A=b"),
    ("HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200 "),
    ("HTTP/1.1 599\r\n\r\n", "HTTP/1.1 599 "),
    ("HTTP/1.7 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue"),
    ("HTTP/1.1 200 \u{E4}\t\r\n\r\n", "HTTP/1.1 200 \u{E4}\t"),
    ("HTTP/1.1 200 OK\r\nA \t: b\r\nC: d\r\n\r\n", "HTTP/1.1 200 OK + A=b + C=d"),
  ])
  func takes(text: String, expected: String) {
    #expect(outcome(text) == expected)
  }

  @Test(arguments: [
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", HTTP1Error.badStatusLine),
    ("ICY 200 OK\r\n\r\n", .badStatusLine),
    // At once, whatever other errors follow and however the response ends.
    ("garbage", .badStatusLine),
    ("\u{15}\u{3}\u{1}\u{0}\u{2}", .badStatusLine),
    ("HTTQ", .badStatusLine),
    ("220 x\ny", .badStatusLine),
    ("HTTP/1.1 99 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 099 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 600 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 2000 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 +20 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1  200 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1\t200 X\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 200\tX\r\n\r\n", .badStatusLine),
    ("HTTP/2.0 200 OK\r\n\r\n", .badVersion),
    ("HTTP/1.1 200 OK\n\r\n", .bareLineFeed),
    ("HTTP/1.1 200 OK\r\nA: b\n\r\n", .bareLineFeed),
    ("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", .bareCarriageReturn),
    ("HTTP/1.1 200 OK\r\nA: b\u{0}\r\n\r\n", .controlCharacter),
    ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", .badFieldName),
    ("HTTP/1.1 200 OK\r\n : c\r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\nA\r\n\r\n", .missingColon),
  ])
  func refuses(text: String, error: HTTP1Error) {
    #expect(outcome(text) == "\(error)")
  }

  @Test func theBeginningOfAStatusLineWaitsForTheRest() {
    #expect(outcome("HTT") == "incomplete" && outcome("HTTP/1.1 200") == "incomplete")
  }

  @Test func interimHeadsWithoutAnEndAreRefused() throws {
    let interim = Array("HTTP/1.1 102 Processing\r\n\r\n".utf8)
    let final = Array("HTTP/1.1 200 OK\r\n\r\n".utf8)
    var parser = ResponseParser()
    var head = ResponseHead()
    // After each final head, the count restarts.
    for _ in 0..<3 {
      for _ in 0..<256 { _ = try parser.parse(interim.span, into: &head) }
      _ = try parser.parse(final.span, into: &head)
    }
    for _ in 0..<256 { _ = try parser.parse(interim.span, into: &head) }
    #expect(throws: HTTP1Error.tooManyInterimHeads) {
      try parser.parse(interim.span, into: &head)
    }
  }

  @Test func blanksBeforeAColonDoNotReachTheClient() throws {
    let text = try withResponse("HTTP/1.1 200 OK\r\nA \t: b\r\nC: d\r\n\r\n") { head in
      var output = ByteBuffer()
      head.encode(for: .http11, body: .known(0), connection: .keepAlive, into: &output)
      return String(decoding: output)
    }
    #expect(text == "HTTP/1.1 200 OK\r\nA:\t  b\r\nC: d\r\nContent-Length: 0\r\n\r\n")
  }

  @Test func limitsHoldForResponsesToo() {
    let text = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n"
    let count = text.utf8.count + 2 * 32
    #expect(responseOutcome(text, limits: HeadLimits(headByteCount: count)) == "complete")
    #expect(responseOutcome(text, limits: HeadLimits(headByteCount: count - 1)) == "headTooLarge")
    #expect(responseOutcome(text, limits: HeadLimits(fieldCount: 1)) == "tooManyFields")
  }
}
