// Request heads: which are accepted, their parts, and the error for each invalid one.

import HTTP
import HTTP1
import Primitives
import Testing

struct RequestParserTests {
  private static func describe(_ head: borrowing RequestHead) -> String {
    func text(_ slice: Slice) -> String { String(decoding: head.bytes(of: slice)) }
    var parts = ["\(text(head.methodName)) \(head.targetForm) \(text(head.path))"]
    if let query = head.query { parts.append("?\(text(query))") }
    if !head.scheme.isEmpty { parts.append("scheme \(text(head.scheme))") }
    parts.append("host \(text(head.host))")
    if let port = head.port { parts.append("port \(port)") }
    return "\(head.version.name) \(parts.joined(separator: " "))\(describeFields(head.fields))"
  }

  private func outcome(_ text: String) -> String {
    requestOutcome(text, describe: Self.describe)
  }

  @Test(arguments: [
    (
      "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
      "HTTP/1.1 GET origin / host a.example + Host=a.example"
    ),
    (
      "POST /a/b?c=d?e HTTP/1.1\r\nhost:a:8080\r\nX-Empty:\r\nX: \t a\tb \t\r\n\r\n",
      "HTTP/1.1 POST origin /a/b ?c=d?e host a port 8080 + host=a:8080 + X-Empty= + X=a\tb"
    ),
    ("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 GET origin / ? host a + Host=a"),
    ("GET //b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 GET origin //b host a + Host=a"),
    (
      "X-Y!Z /|\"<>^`{} HTTP/1.1\r\nHost: a\r\n\r\n",
      "HTTP/1.1 X-Y!Z origin /|\"<>^`{} host a + Host=a"
    ),
    ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 GET origin / host "),
    ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "HTTP/1.0 GET origin / host a + Host=a"),
    ("GET / HTTP/1.9\r\nHost: a\r\n\r\n", "HTTP/1.1 GET origin / host a + Host=a"),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 OPTIONS asterisk * host a + Host=a"),
    (
      "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
      "HTTP/1.1 CONNECT authority  host b port 443 + Host=b:443"
    ),
    (
      "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
      "HTTP/1.1 GET origin / host [::1] port 80 + Host=[::1]:80"
    ),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 GET origin / host a + Host=a"),
    (
      "GET / HTTP/1.1\r\nHost: a\r\nX: \u{E4}\r\n\r\n",
      "HTTP/1.1 GET origin / host a + Host=a + X=\u{E4}"
    ),
  ])
  func takes(text: String, expected: String) {
    #expect(outcome(text) == expected)
  }

  @Test(arguments: [
    // The target's authority replaces the one in Host.
    (
      "GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
      "HTTP/1.1 GET absolute /x ?y scheme http host b port 81 + X=1 + Host=b:81"
    ),
    (
      "GET HTTPS://a HTTP/1.1\r\nHost: A\r\n\r\n",
      "HTTP/1.1 GET absolute / scheme HTTPS host a + Host=A"
    ),
    (
      "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n",
      "HTTP/1.1 GET absolute / ?q scheme http host a + Host=a"
    ),
    (
      "GET http://a/ HTTP/1.0\r\n\r\n",
      "HTTP/1.0 GET absolute / scheme http host a + Host=a"
    ),
    (
      "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
      "HTTP/1.1 OPTIONS asterisk * scheme http host a + Host=a"
    ),
    (
      "OPTIONS http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
      "HTTP/1.1 OPTIONS absolute / ?b scheme http host a + Host=a"
    ),
  ])
  func readsAbsoluteTargets(text: String, expected: String) {
    #expect(outcome(text) == expected)
  }

  @Test(arguments: [
    // Lines and octets.
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", HTTP1Error.bareLineFeed),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLineFeed),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareLineFeed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", .bareCarriageReturn),
    ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", .bareCarriageReturn),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{0}\r\n\r\n", .controlCharacter),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{B}2\r\n\r\n", .controlCharacter),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\u{7F}\r\n\r\n", .controlCharacter),
    ("\u{16}\u{3}\u{1}\u{2}", .controlCharacter),
    ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .tooManyEmptyLines),
    // The request line.
    ("GET\r\n\r\n", .badMethod),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .badMethod),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", .badMethod),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .badMethod),
    ("\(String(repeating: "M", count: 33)) / HTTP/1.1\r\nHost: a\r\n\r\n", .badMethod),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET /\u{E4} HTTP/1.1\r\nHost: a\r\n\r\n", .targetNotASCII),
    ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET http: HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
    ("GET /\r\n\r\n", .badRequestLine),
    ("GET / \r\n\r\n", .badRequestLine),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", .badRequestLine),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .badRequestLine),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", .badRequestLine),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", .badRequestLine),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", .badRequestLine),
    ("GET / HTTP/11\r\nHost: a\r\n\r\n", .badRequestLine),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .badVersion),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .badVersion),
    // Field lines.
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", .obsFold),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n", .obsFold),
    ("GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n", .obsFold),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceBeforeColon),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\n", .spaceBeforeColon),
    ("GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", .badFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", .badFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX y: 1\r\n\r\n", .badFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): 1\r\n\r\n", .badFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\n\u{E4}: 1\r\n\r\n", .badFieldName),
    // Host.
    ("GET / HTTP/1.1\r\n\r\n", .missingHost),
    ("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .duplicateHost),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", .duplicateHost),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .duplicateHost),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", .badHost),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .badHost),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .badHost),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .badHost),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .badHost),
    ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", .badHost),
    ("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", .badHost),
  ])
  func refuses(text: String, error: HTTP1Error) {
    #expect(outcome(text) == "\(error)")
  }

  @Test(arguments: [
    "", "\r", "\r\n", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r",
  ])
  func waitsForTheEndOfAHead(text: String) {
    #expect(outcome(text) == "incomplete")
  }

  @Test func bytesAfterTheHeadAreNotConsumed() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(requestOutcome(head + "\n\u{0}rest") == "\(head.utf8.count) bytes complete")
  }

  @Test func aParserIsReadyForTheNextHead() throws {
    let input = Array("\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\n\r\n".utf8)
    var parser = RequestParser()
    var head = RequestHead()
    let first = try parser.parse(input.span, into: &head)
    #expect(first == .complete(byteCount: 30))
    let firstPath = String(decoding: head.bytes(of: head.path))
    #expect(firstPath == "/1")
    let second = try parser.parse(input.span.extracting(30..<input.count), into: &head)
    #expect(second == .complete(byteCount: input.count - 30))
    let secondPath = String(decoding: head.bytes(of: head.path))
    #expect(secondPath == "/2")
    #expect(head.fields.count == 0)
  }

  @Test(arguments: [
    ("", false), ("\r", false), ("\r\n", false), ("\r\nG", true), ("GET /\r\n", true),
  ])
  func aHeadHasBegunWithItsFirstVisibleByte(text: String, expected: Bool) throws {
    let input = Array(text.utf8)
    var parser = RequestParser()
    var head = RequestHead()
    for count in 0...input.count {
      _ = try parser.parse(input.span.extracting(0..<count), into: &head)
    }
    #expect(parser.hasBegun == expected)
  }

  @Test(arguments: [
    ("1.1\r\nHost: a", Expect.none), ("1.1\r\nHost: a\r\nExpect: 100-continue", .continue),
    ("1.1\r\nHost: a\r\nexpect: 100-Continue", .continue),
    ("1.1\r\nHost: a\r\nExpect: 100-continue, x", .unknown),
    ("1.1\r\nHost: a\r\nExpect: 200-ok\r\nExpect: 100-continue", .unknown),
    ("1.0\r\nExpect: 100-continue", .none),
  ])
  func readsExpect(rest: String, expected: Expect) throws {
    let expectation = try withRequest("POST / HTTP/\(rest)\r\n\r\n") { $0.expect }
    #expect(expectation == expected)
  }

  @Test func bytesThatWereCheckedAreNotLookedAtAgain() throws {
    // After the first scan, insert bytes that a second scan of the same range would refuse.
    var input = Array("GET / HTTP/1.1\r\nHost: a\r\nX: yyy".utf8)
    var parser = RequestParser()
    var head = RequestHead()
    let first = try parser.parse(input.span, into: &head)
    #expect(first == .incomplete)
    input[input.count - 1] = 0
    input += Array("\r\n\r\n".utf8)
    let second = try parser.parse(input.span, into: &head)
    #expect(second == .complete(byteCount: input.count))
  }

  // MARK: Limits

  @Test func aHeadMayHaveExactlyItsLimitOfBytes() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyy\r\n\r\n"
    // Each of the two fields counts 32 bytes more than its text.
    let count = text.utf8.count + 2 * 32
    #expect(requestOutcome(text, limits: HeadLimits(headByteCount: count)) == "complete")
    for limit in 1..<count {
      let outcome = requestOutcome(text, limits: HeadLimits(headByteCount: limit))
      #expect(outcome == "headTooLarge")
    }
  }

  @Test func manySmallFieldsAreTooLargeBeforeTheyEnd() {
    let limits = HeadLimits(headByteCount: 1000, fieldCount: 1000)
    let text = "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "A:\r\n", count: 30)
    #expect(text.utf8.count < 200)
    #expect(requestOutcome(text, limits: limits) == "headTooLarge")
  }

  @Test func anEndlessHeadIsRefusedBeforeItEnds() {
    let limits = HeadLimits(headByteCount: 100)
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "y", count: 100)
    #expect(requestOutcome(text, limits: limits) == "headTooLarge")
  }

  @Test func aTargetMayHaveExactlyItsLimitOfBytes() {
    let limits = HeadLimits(targetByteCount: 20)
    let target = "/" + String(repeating: "x", count: 19)
    let rest = " HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(requestOutcome("GET " + target + rest, limits: limits) == "complete")
    #expect(requestOutcome("GET " + target + "x" + rest, limits: limits) == "targetTooLong")
  }

  @Test func anEndlessTargetIsRefusedBeforeItEnds() {
    let limits = HeadLimits(targetByteCount: 20)
    let text = "GET /" + String(repeating: "x", count: 60)
    #expect(requestOutcome(text, limits: limits) == "targetTooLong")
    // A control after the limit must not be the reported reason.
    #expect(requestOutcome(text + "\n", limits: limits) == "targetTooLong")
  }

  @Test func aHeadMayHaveExactlyItsLimitOfFields() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n"
    #expect(requestOutcome(head + "\r\n", limits: HeadLimits(fieldCount: 2)) == "complete")
    #expect(requestOutcome(head, limits: HeadLimits(fieldCount: 1)) == "tooManyFields")
  }

  @Test func everyReasonHasANameOfItsOwnAndAStatus() {
    #expect(Set(HTTP1Error.allCases.map { "\($0.name)" }).count == HTTP1Error.allCases.count)
    let statuses = Set(HTTP1Error.allCases.map(\.status))
    #expect(statuses == [400, 414, 431, 501, 505])
    #expect(HTTP1Error.badVersion.status == 505)
    #expect(HTTP1Error.targetTooLong.status == 414)
    #expect(HTTP1Error.tooManyFields.status == 431)
    #expect(HTTP1Error.unknownTransferCoding.status == 501)
  }
}
