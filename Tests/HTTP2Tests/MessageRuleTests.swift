// Every rule about messages (RFC 9113 8), one table per direction: what is accepted, and the error
// for what isn't.

import HTTP
import Primitives
import Testing

@testable import HTTP2

struct MessageRule: CustomTestStringConvertible, Sendable {
  let name: String
  let fields: [(String, String)]
  /// The error's name, or nil when the message is accepted.
  let error: String?

  init(_ name: String, _ fields: [(String, String)], _ error: String?) {
    self.name = name
    self.fields = fields
    self.error = error
  }

  var testDescription: String { name }

  private static func without(_ name: String) -> [(String, String)] {
    Wire.request().filter { $0.0 != name }
  }

  private static func with(_ name: String, _ value: String) -> [(String, String)] {
    Wire.request().map { $0.0 == name ? (name, value) : $0 }
  }

  static let requests: [MessageRule] = [
    // 8.3.1: required pseudo-fields.
    MessageRule("plain", Wire.request(), nil),
    MessageRule("no :method", without(":method"), "missing-pseudo-field"),
    MessageRule("no :scheme", without(":scheme"), "missing-pseudo-field"),
    MessageRule("no :path", without(":path"), "missing-pseudo-field"),
    MessageRule("no fields", [], "missing-pseudo-field"),
    MessageRule("no :authority and no host", without(":authority"), "missing-authority"),
    MessageRule(
      "host instead of :authority", without(":authority") + [("host", "example.org")], nil),
    // 8.3: once, first, known.
    MessageRule(
      "two :method", [(":method", "GET")] + Wire.request(), "repeated-pseudo-field"),
    MessageRule("two :path", [(":path", "/")] + Wire.request(), "repeated-pseudo-field"),
    MessageRule("two :scheme", [(":scheme", "https")] + Wire.request(), "repeated-pseudo-field"),
    MessageRule(
      "two :authority", [(":authority", "a")] + Wire.request(), "repeated-pseudo-field"),
    MessageRule(
      "pseudo-field behind a field", without(":authority") + [("a", "b"), (":authority", "a")],
      "misplaced-pseudo-field"),
    MessageRule("unknown pseudo-field", [(":test", "x")] + Wire.request(), "unknown-pseudo-field"),
    MessageRule(
      ":status in a request", [(":status", "200")] + Wire.request(), "unknown-pseudo-field"),
    // 8.3.1: their values.
    MessageRule("empty method", with(":method", ""), "bad-method"),
    MessageRule("space in method", with(":method", "GET /"), "bad-method"),
    MessageRule("long method", with(":method", String(repeating: "A", count: 33)), "bad-method"),
    MessageRule("unknown method", with(":method", "PURGE"), nil),
    MessageRule("http", with(":scheme", "http"), nil),
    MessageRule("another scheme", with(":scheme", "ftp"), "bad-scheme"),
    MessageRule("empty scheme", with(":scheme", ""), "bad-scheme"),
    MessageRule("empty path", with(":path", ""), "bad-path"),
    MessageRule("path without a slash", with(":path", "index.html"), "bad-path"),
    MessageRule("path with a fragment", with(":path", "/a#b"), "bad-path"),
    MessageRule("path with a space", with(":path", "/a b"), "bad-path"),
    MessageRule("path with CR LF", with(":path", "/a\r\nb"), "bad-path"),
    MessageRule("path with bytes above ASCII", with(":path", "/é"), "bad-path"),
    MessageRule("path with NUL", with(":path", "/\0"), "bad-path"),
    MessageRule("asterisk with GET", with(":path", "*"), "bad-path"),
    MessageRule(
      "asterisk with OPTIONS",
      [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a"), (":path", "*")], nil),
    MessageRule("absolute path", with(":path", "https://example.org/"), "bad-path"),
    MessageRule("empty authority", with(":authority", ""), "bad-authority"),
    MessageRule("user in authority", with(":authority", "user@example.org"), "bad-authority"),
    MessageRule("path in authority", with(":authority", "example.org/a"), "bad-authority"),
    MessageRule("bad port", with(":authority", "example.org:0"), "bad-authority"),
    MessageRule("port", with(":authority", "example.org:8443"), nil),
    MessageRule("IPv6", with(":authority", "[::1]:443"), nil),
    // 8.3.1: Host.
    MessageRule("same host", Wire.request([("host", "Example.org")]), nil),
    MessageRule("other host", Wire.request([("host", "example.com")]), "differing-host"),
    MessageRule(
      "two hosts", Wire.request([("host", "example.org"), ("host", "example.org")]),
      "repeated-host"),
    MessageRule(
      "bad host instead of :authority", without(":authority") + [("host", "a b")], "bad-authority"),
    // 8.5: CONNECT.
    MessageRule("CONNECT", [(":method", "CONNECT"), (":authority", "a.example:443")], nil),
    MessageRule(
      "CONNECT without a port", [(":method", "CONNECT"), (":authority", "a.example")],
      "bad-connect"),
    MessageRule("CONNECT with a path", Wire.request(method: "CONNECT"), "bad-connect"),
    MessageRule("CONNECT without :authority", [(":method", "CONNECT")], "bad-connect"),
    // RFC 8441.
    MessageRule(
      "extended CONNECT", [(":protocol", "websocket")] + Wire.request(method: "CONNECT"), nil),
    MessageRule(
      "extended CONNECT without a path",
      [
        (":method", "CONNECT"), (":protocol", "websocket"), (":authority", "a:1"),
        (":scheme", "https"),
      ],
      "missing-pseudo-field"),
    MessageRule(":protocol with GET", [(":protocol", "websocket")] + Wire.request(), "bad-connect"),
    MessageRule(
      ":protocol h2c", [(":protocol", "h2c")] + Wire.request(method: "CONNECT"), "bad-protocol"),
    MessageRule(
      "empty :protocol", [(":protocol", "")] + Wire.request(method: "CONNECT"), "bad-protocol"),
    // 8.1.1: content-length.
    MessageRule(
      "content-length with END_STREAM", Wire.request([("content-length", "5")]),
      "content-length-mismatch"),
    MessageRule("content-length 0", Wire.request([("content-length", "0")]), nil),
    MessageRule(
      "two content-lengths", Wire.request([("content-length", "0"), ("content-length", "0")]),
      "repeated-content-length"),
    MessageRule(
      "list of content-lengths", Wire.request([("content-length", "0, 0")]), "bad-content-length"),
    MessageRule(
      "signed content-length", Wire.request([("content-length", "+0")]), "bad-content-length"),
    MessageRule(
      "huge content-length", Wire.request([("content-length", "9223372036854775808")]),
      "bad-content-length"),
  ]

  /// 8.2, which applies to both directions.
  static let fields: [MessageRule] = [
    MessageRule("a field", [("name", "value")], nil),
    MessageRule("an empty value", [("name", "")], nil),
    MessageRule("a tab within a value", [("name", "a\tb")], nil),
    MessageRule("bytes above ASCII in a value", [("name", "é")], nil),
    MessageRule("te: trailers", [("te", "trailers")], nil),
    MessageRule("te: gzip", [("te", "gzip")], "bad-te"),
    MessageRule("te: trailers and more", [("te", "trailers, deflate;q=0.5")], "bad-te"),
    MessageRule("connection", [("connection", "close")], "connection-field"),
    MessageRule("proxy-connection", [("proxy-connection", "close")], "connection-field"),
    MessageRule("keep-alive", [("keep-alive", "timeout=5")], "connection-field"),
    MessageRule("transfer-encoding", [("transfer-encoding", "chunked")], "connection-field"),
    MessageRule("upgrade", [("upgrade", "h2c")], "connection-field"),
    MessageRule("http2-settings", [("http2-settings", "AAMAAABk")], "connection-field"),
    MessageRule("upper case", [("Name", "value")], "upper-case-field-name"),
    MessageRule("known name in upper case", [("Accept", "*/*")], "upper-case-field-name"),
    MessageRule("empty name", [("", "value")], "empty-field-name"),
    MessageRule("space in a name", [("na me", "value")], "bad-field-name"),
    MessageRule("colon in a name", [("na:me", "value")], "bad-field-name"),
    MessageRule("byte above ASCII in a name", [("né", "value")], "bad-field-name"),
    MessageRule("control in a name", [("na\u{1}me", "value")], "bad-field-name"),
    MessageRule("CR LF in a value", [("name", "a\r\nb: c")], "bad-field-value"),
    MessageRule("LF in a value", [("name", "a\nb")], "bad-field-value"),
    MessageRule("NUL in a value", [("name", "a\0b")], "bad-field-value"),
    MessageRule("DEL in a value", [("name", "a\u{7F}")], "bad-field-value"),
    MessageRule("space before a value", [("name", " a")], "bad-field-value"),
    MessageRule("tab behind a value", [("name", "a\t")], "bad-field-value"),
  ]

  static let responses: [MessageRule] = [
    MessageRule("plain", [(":status", "200")], nil),
    MessageRule("no :status", [], "missing-pseudo-field"),
    MessageRule(
      "a field before :status", [("a", "b"), (":status", "200")], "missing-pseudo-field"),
    MessageRule("two :status", [(":status", "200"), (":status", "200")], "repeated-pseudo-field"),
    MessageRule(
      "pseudo-field behind a field", [(":status", "200"), ("a", "b"), (":status", "200")],
      "misplaced-pseudo-field"),
    MessageRule(
      "request's pseudo-field", [(":path", "/"), (":status", "200")], "unknown-pseudo-field"),
    MessageRule("unknown pseudo-field", [(":x", "/"), (":status", "200")], "unknown-pseudo-field"),
    MessageRule("status 099", [(":status", "099")], "bad-status"),
    MessageRule("status 600", [(":status", "600")], "bad-status"),
    MessageRule("status 999", [(":status", "999")], "bad-status"),
    MessageRule("status 101", [(":status", "101")], "bad-status"),
    MessageRule("two digits", [(":status", "20")], "bad-status"),
    MessageRule("four digits", [(":status", "2000")], "bad-status"),
    MessageRule("with a reason", [(":status", "200 OK")], "bad-status"),
    MessageRule("1xx with END_STREAM", [(":status", "103")], "interim-with-end"),
    MessageRule(
      "content-length with END_STREAM", [(":status", "200"), ("content-length", "5")],
      "content-length-mismatch"),
    MessageRule(
      "304 with content-length", [(":status", "304"), ("content-length", "5")], nil),
    MessageRule(
      "204 with content-length", [(":status", "204"), ("content-length", "5")], "body-not-allowed"),
    MessageRule(
      "two content-lengths",
      [(":status", "200"), ("content-length", "0"), ("content-length", "0")],
      "repeated-content-length"),
  ]

  static let trailers: [MessageRule] = [
    MessageRule("grpc-status", [("grpc-status", "0")], nil),
    MessageRule("none at all", [], nil),
    MessageRule("pseudo-field", [(":path", "/")], "pseudo-field-in-trailers"),
    MessageRule(":status", [(":status", "200")], "pseudo-field-in-trailers"),
    MessageRule("host", [("host", "a")], "field-in-trailers"),
    MessageRule("content-length", [("content-length", "0")], "field-in-trailers"),
    MessageRule("cookie", [("cookie", "a=b")], "field-in-trailers"),
    MessageRule("authorization", [("authorization", "x")], "field-in-trailers"),
    MessageRule("expect", [("expect", "100-continue")], "field-in-trailers"),
    MessageRule("te", [("te", "trailers")], "field-in-trailers"),
    MessageRule("connection", [("connection", "close")], "connection-field"),
    MessageRule("upper case", [("Name", "a")], "upper-case-field-name"),
    MessageRule("CR LF", [("name", "a\r\n")], "bad-field-value"),
  ]
}

@Suite struct MessageRuleTests {
  @Test(
    arguments: MessageRule.requests
      + MessageRule.fields.map {
        MessageRule($0.name, Wire.request($0.fields), $0.error)
      })
  func aRequestIsTakenOrResetByName(rule: MessageRule) {
    let lines = outcome(Wire.headers(1, rule.fields, ends: true))
    if let error = rule.error {
      #expect(lines == ["rejected 1 \(error)", "RST 1 protocol-error"])
    } else {
      #expect(lines.count == 1 && lines[0].hasPrefix("request 1 "), "\(lines)")
    }
  }

  @Test(
    arguments: MessageRule.responses
      + MessageRule.fields.map {
        MessageRule($0.name, [(":status", "200")] + $0.fields, $0.error)
      })
  func aResponseIsTakenOrResetByName(rule: MessageRule) {
    func client() -> Bench {
      let bench = Bench.client()
      bench.request()
      bench.clear()
      return bench
    }
    let lines = outcome(Wire.headers(1, rule.fields, ends: true), with: client())
    if let error = rule.error {
      #expect(lines == ["failed 1 \(error)", "RST 1 protocol-error"])
    } else {
      #expect(lines.count == 1 && lines[0].hasPrefix("response 1 "), "\(lines)")
    }
  }

  @Test(arguments: MessageRule.trailers)
  func trailersAreTakenOrResetByName(rule: MessageRule) {
    let request = Wire.headers(1, Wire.request(method: "POST")) + Wire.data(1, "hello")
    let lines = outcome(request + Wire.headers(1, rule.fields, ends: true))
    if let error = rule.error {
      #expect(Array(lines.suffix(2)) == ["failed 1 \(error)", "RST 1 protocol-error"])
    } else {
      #expect(lines.last?.hasPrefix("trailers 1") == true, "\(lines)")
    }
    let response = Wire.headers(1, [(":status", "200")]) + Wire.data(1, "hello")
    func client() -> Bench {
      let bench = Bench.client()
      bench.request()
      bench.clear()
      return bench
    }
    let answered = outcome(response + Wire.headers(1, rule.fields, ends: true), with: client())
    if let error = rule.error {
      #expect(Array(answered.suffix(2)) == ["failed 1 \(error)", "RST 1 protocol-error"])
    } else {
      #expect(answered.last?.hasPrefix("trailers 1") == true, "\(answered)")
    }
  }

  @Test(arguments: [32, 33])
  func trailersHaveALimitOfTheirOwn(count: Int) {
    let trailers = (0..<count).map { ("x-\($0)", "y") }
    let lines = outcome(
      Wire.headers(1, Wire.request(method: "POST")) + Wire.headers(1, trailers, ends: true))
    #expect(lines.contains("failed 1 too-many-fields") == (count > 32), "\(lines)")
  }

  // MARK: Bodies against content-length (8.1.1)

  @Test(arguments: [
    (5, ["hello"], "piece 1 hello end"), (5, ["hel", "lo"], "piece 1 hello end"),
    (5, ["hell"], "failed 1 content-length-mismatch"),
    (5, ["hello!"], "failed 1 content-length-mismatch"),
    (5, ["hello", "!"], "failed 1 content-length-mismatch"),
    (0, ["x"], "failed 1 content-length-mismatch"),
  ])
  func aBodyIsAsLongAsItsHeadSays(length: Int, pieces: [String], last: String) {
    let fields = Wire.request([("content-length", "\(length)")], method: "POST")
    var input = Wire.headers(1, fields)
    for (index, piece) in pieces.enumerated() {
      input += Wire.data(1, piece, ends: index == pieces.count - 1)
    }
    let lines = outcome(input).filter { !$0.hasPrefix("RST") }
    #expect(lines.last == last)
  }

  @Test func trailersEndABodyThatIsTooShort() {
    let fields = Wire.request([("content-length", "5")], method: "POST")
    let lines = outcome(Wire.headers(1, fields) + Wire.headers(1, [("a", "b")], ends: true))
    #expect(lines.contains("failed 1 content-length-mismatch"))
  }

  @Test func trailersWithoutTheEndAreRefused() {
    let input = Wire.headers(1, Wire.request(method: "POST")) + Wire.headers(1, [("a", "b")])
    #expect(outcome(input).contains("failed 1 trailers-without-end"))
  }

  @Test(arguments: [("HEAD", "200"), ("GET", "304"), ("GET", "204")])
  func aResponseWithoutABodyHasNone(method: String, status: String) {
    func client() -> Bench {
      let bench = Bench.client()
      bench.request(method)
      bench.clear()
      return bench
    }
    let head = Wire.headers(1, [(":status", status)])
    let ended = outcome(head + Wire.data(1, "", ends: true), with: client())
    #expect(ended == ["response 1 \(status) none", "end 1"])
    let refused = outcome(head + Wire.data(1, "x", ends: true), with: client())
    #expect(refused.contains("failed 1 body-not-allowed"))
  }

  @Test func headMayStateALength() {
    func client() -> Bench {
      let bench = Bench.client()
      bench.request("HEAD")
      bench.clear()
      return bench
    }
    let head = Wire.headers(1, [(":status", "200"), ("content-length", "5")], ends: true)
    #expect(outcome(head, with: client()) == ["response 1 200 + content-length=5 none end"])
  }

  @Test func interimResponsesComeBeforeTheFinalOne() {
    func client() -> Bench {
      let bench = Bench.client()
      bench.request("POST", body: .streamed)
      bench.clear()
      return bench
    }
    let input =
      Wire.headers(1, [(":status", "100")]) + Wire.headers(1, [(":status", "103"), ("link", "x")])
      + Wire.headers(1, [(":status", "200")], ends: true)
    #expect(
      outcome(input, with: client()) == [
        "response 1 100 none", "response 1 103 + link=x none", "response 1 200 known(0) end",
      ])
    let data = Wire.headers(1, [(":status", "100")]) + Wire.data(1, "x")
    #expect(outcome(data, with: client()).contains("failed 1 data-before-head"))
  }

  @Test func interimResponsesAreCounted() {
    var limits = HTTP2Limits()
    limits.interimCount = 3
    let bench = Bench.client(limits)
    bench.request()
    for _ in 0..<4 { bench.feed(Wire.headers(1, [(":status", "102")])) }
    #expect(bench.events.last == "failed 1 too-many-interims")
  }

  // MARK: What a request becomes

  @Test func aRequestHasTheFormOfHTTP1() {
    let fields = Wire.request(
      [
        ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3"), ("te", "trailers"),
      ], path: "/a?b=c")
    #expect(
      outcome(Wire.headers(1, fields, ends: true)) == [
        "request 1 GET example.org /a?b=c + Host=example.org + x=y + te=trailers"
          + " + cookie=a=1; b=2; c=3 none end"
      ])
  }

  @Test func theLengthOfABodyIsReported() {
    func body(_ fields: [(String, String)], ends: Bool) -> String {
      let input = Wire.headers(1, Wire.request(fields, method: "POST"), ends: ends)
      let line = outcome(input).first ?? ""
      return line.split(separator: " ").drop { $0 != "Host=example.org" }.dropFirst()
        .filter { !$0.contains("=") && $0 != "+" }.joined(separator: " ")
    }
    #expect(body([], ends: true) == "none end")
    #expect(body([("content-length", "0")], ends: true) == "known(0) end")
    #expect(body([], ends: false) == "streamed")
    #expect(body([("content-length", "7")], ends: false) == "known(7)")
  }

  @Test func aRequestGoesThroughHTTP1sEncoder() {
    let bench = Bench.server()
    bench.feed(
      Wire.headers(
        1, Wire.request([("x", "y"), ("cookie", "a=1"), ("cookie", "b=2")], path: "/p?q"),
        ends: true))
    #expect(
      http1Text(bench)
        == "GET /p?q HTTP/1.1\r\nHost: example.org\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n")
  }

  @Test func anExpectationIsKnown() {
    let bench = Bench.server()
    bench.feed(Wire.headers(1, Wire.request([("expect", "100-continue")], method: "POST")))
    let expect = bench.workspace.request.expect
    #expect(expect == .continue)
    bench.feed(Wire.headers(3, Wire.request([("expect", "else")], method: "POST")))
    let other = bench.workspace.request.expect
    #expect(other == .unknown)
  }

  // MARK: Limits of heads

  @Test func aHeadBeyondALimitIsAnswered() {
    let large = String(repeating: "x", count: 8000)
    let fields = Wire.request((0..<5).map { ("x\($0)", large) })
    let bench = Bench.server()
    let block = Wire.block(fields)
    var input = Wire.frame(Wire.headers, Wire.endStream, 1, Array(block[..<16_000]))
    input += Wire.frame(Wire.continuation, 0, 1, Array(block[16_000..<32_000]))
    input += Wire.frame(Wire.continuation, Wire.endHeaders, 1, Array(block[32_000...]))
    bench.feed(input)
    #expect(bench.events == ["excessive 1 field-list-too-large"])
    #expect(HTTP2Error.fieldListTooLarge.status == 431)
    #expect(bench.respond(431, on: 1) == .sent)
    #expect(bench.frames() == ["HEADERS 1 :status: 431 end"])
  }

  @Test func fieldsAndCrumbsAreCountedApart() {
    let many = Wire.request((0..<101).map { ("x\($0)", "") })
    #expect(outcome(Wire.headers(1, many, ends: true)) == ["excessive 1 too-many-fields"])
    let crumbs = Wire.request((0..<101).map { _ in ("cookie", "a=b") })
    #expect(outcome(Wire.headers(1, crumbs, ends: true)) == ["excessive 1 too-many-fields"])
    let both = Wire.request(
      (0..<99).map { ("x\($0)", "") } + (0..<100).map { _ in ("cookie", "a=b") })
    #expect(outcome(Wire.headers(1, both, ends: true)).first?.hasPrefix("request 1") == true)
  }

  @Test func aTargetBeyondTheLimitIsAnswered() {
    let fields = Wire.request(path: "/" + String(repeating: "p", count: 8192))
    #expect(outcome(Wire.headers(1, fields, ends: true)) == ["excessive 1 target-too-long"])
  }
}
