// The rules of RFC 9113 for frames, streams and settings, by section, in the order of h2spec: the
// required reaction for each case.

import HTTP
import Primitives
import Testing

@testable import HTTP2

struct FrameRule: CustomTestStringConvertible, Sendable {
  let name: String
  let input: [UInt8]
  let lines: [String]

  init(_ name: String, _ input: [UInt8], _ lines: String...) {
    self.name = name
    self.input = input
    self.lines = lines
  }

  var testDescription: String { name }

  private static let get = Wire.headers(1, Wire.request(), ends: true)
  private static let post = Wire.headers(1, Wire.request(method: "POST"))
  private static let getLine = "request 1 GET example.org / + Host=example.org none end"
  private static let postLine = "request 1 POST example.org / + Host=example.org streamed"

  private static func broken(_ name: String, _ code: String, last: Int = 0) -> [String] {
    ["broken \(name)", "GOAWAY \(last) \(code)"]
  }

  private static func rule(_ name: String, _ input: [UInt8], _ lines: [String]) -> FrameRule {
    FrameRule(name: name, input: input, lines: lines)
  }

  private init(name: String, input: [UInt8], lines: [String]) {
    self.name = name
    self.input = input
    self.lines = lines
  }

  /// Cases after the client's preface and SETTINGS.
  static let all: [FrameRule] = [
    // 4.1
    FrameRule("4.1 a frame of an unknown type is ignored", Wire.frame(0x16, 0, 0, [1, 2, 3])),
    FrameRule(
      "4.1 undefined flags are ignored",
      Wire.frame(Wire.ping, 0x16, 0, [UInt8](repeating: 0, count: 8)),
      "PING ack 0"),
    FrameRule(
      "4.1 the reserved bit is ignored",
      Wire.frame(Wire.ping, 0, 0x8000_0000, [UInt8](repeating: 0, count: 8)), "PING ack 0"),
    // 4.2
    rule(
      "4.2 DATA of the largest size",
      post
        + Wire.frame(Wire.data, 1, 1, [UInt8](repeating: 0x61, count: 16_384)),
      [postLine, "piece 1 " + String(repeating: "a", count: 16_384) + " end"]),
    rule(
      "4.2 DATA beyond the largest size",
      Wire.frame(Wire.data, 1, 1, [UInt8](repeating: 0, count: 16_385)),
      broken("frame-too-large", "frame-size-error")),
    rule(
      "4.2 HEADERS beyond the largest size",
      Wire.frame(Wire.headers, 5, 1, [UInt8](repeating: 0, count: 16_385)),
      broken("frame-too-large", "frame-size-error")),
    // 4.3
    rule(
      "4.3 an invalid field block", Wire.frame(Wire.headers, 5, 1, [0x40]),
      broken("truncated-field-block", "compression-error", last: 1)),
    rule(
      "4.3 PRIORITY within a field block",
      Wire.frame(Wire.headers, 1, 1, Wire.block(Wire.request()))
        + Wire.frame(Wire.priority, 0, 1, [0, 0, 0, 0, 255]),
      broken("expected-continuation", "protocol-error")),
    rule(
      "4.3 a block of another stream within a field block",
      Wire.frame(Wire.headers, 1, 1, Wire.block(Wire.request())) + Wire.headers(3, Wire.request()),
      broken("expected-continuation", "protocol-error")),
    // 5.1 idle
    rule("5.1 idle: DATA", Wire.data(1, "x"), broken("frame-on-idle-stream", "protocol-error")),
    rule(
      "5.1 idle: RST_STREAM", Wire.reset(1, 8), broken("frame-on-idle-stream", "protocol-error")),
    rule(
      "5.1 idle: WINDOW_UPDATE", Wire.windowUpdate(1, 1),
      broken("frame-on-idle-stream", "protocol-error")),
    rule(
      "5.1 idle: CONTINUATION", Wire.frame(Wire.continuation, 4, 1, Wire.block(Wire.request())),
      broken("unexpected-continuation", "protocol-error")),
    // 5.1 half-closed (remote)
    FrameRule(
      "5.1 half-closed: DATA", get + Wire.data(1, "x"), getLine, "failed 1 frame-on-closed-stream",
      "RST 1 stream-closed"),
    FrameRule(
      "5.1 half-closed: HEADERS", get + Wire.headers(1, Wire.request(), ends: true), getLine,
      "failed 1 frame-on-closed-stream", "RST 1 stream-closed"),
    FrameRule(
      "5.1 half-closed: WINDOW_UPDATE and PRIORITY",
      get + Wire.windowUpdate(1, 5) + Wire.frame(Wire.priority, 0, 1, [0, 0, 0, 0, 1]), getLine),
    // 5.1 closed
    FrameRule(
      "5.1 closed by RST_STREAM: DATA", post + Wire.reset(1, 8) + Wire.data(1, "x"), postLine,
      "reset 1 cancel", "RST 1 stream-closed"),
    rule(
      "5.1 closed by RST_STREAM: HEADERS",
      post + Wire.reset(1, 8) + Wire.headers(1, Wire.request(), ends: true),
      [postLine, "reset 1 cancel"] + broken("headers-on-closed-stream", "stream-closed", last: 1)),
    rule(
      "5.1 closed by RST_STREAM: CONTINUATION",
      post + Wire.reset(1, 8) + Wire.frame(Wire.continuation, 4, 1, []),
      [postLine, "reset 1 cancel"] + broken("unexpected-continuation", "protocol-error", last: 1)),
    FrameRule(
      "5.1 closed: WINDOW_UPDATE, PRIORITY and RST_STREAM",
      post + Wire.reset(1, 8) + Wire.windowUpdate(1, 5) + Wire.reset(1, 8)
        + Wire.frame(Wire.priority, 0, 1, [0, 0, 0, 0, 1]), postLine, "reset 1 cancel"),
    // 5.1.1
    rule(
      "5.1.1 an even identifier", Wire.headers(2, Wire.request(), ends: true),
      broken("bad-stream-id", "protocol-error")),
    rule(
      "5.1.1 an identifier that is smaller than one before",
      Wire.headers(5, Wire.request(), ends: true) + Wire.headers(3, Wire.request(), ends: true),
      ["request 5 GET example.org / + Host=example.org none end"]
        + broken("bad-stream-id", "protocol-error", last: 5)),
    rule(
      "5.1.1 stream 0", Wire.headers(0, Wire.request()),
      broken("missing-stream-id", "protocol-error")),
    // 5.5
    rule(
      "5.5 an unknown frame within a field block",
      Wire.frame(Wire.headers, 1, 1, Wire.block(Wire.request())) + Wire.frame(0x16, 0, 1),
      broken("expected-continuation", "protocol-error")),
    // 6.1
    rule("6.1 DATA on stream 0", Wire.data(0, "x"), broken("missing-stream-id", "protocol-error")),
    FrameRule(
      "6.1 DATA with padding",
      post + Wire.frame(Wire.data, 9, 1, [3] + Array("hello".utf8) + [0, 0, 0]), postLine,
      "piece 1 hello end"),
    FrameRule(
      "6.1 DATA with padding alone", post + Wire.frame(Wire.data, 9, 1, [3, 0, 0, 0]), postLine,
      "end 1"),
    rule(
      "6.1 DATA with too much padding", post + Wire.frame(Wire.data, 9, 1, [6, 1, 2, 3, 4, 5]),
      [postLine] + broken("bad-padding", "protocol-error", last: 1)),
    rule(
      "6.1 DATA without a padding length", post + Wire.frame(Wire.data, 9, 1),
      [postLine] + broken("bad-frame-size", "frame-size-error", last: 1)),
    // 6.2
    FrameRule(
      "6.2 HEADERS with padding and priority",
      Wire.frame(
        Wire.headers, 0x2D, 1, [2, 0, 0, 0, 0, 7] + Wire.block(Wire.request()) + [0, 0]), getLine),
    rule(
      "6.2 HEADERS with too much padding",
      Wire.frame(Wire.headers, 0x0D, 1, [200] + Wire.block(Wire.request())),
      broken("bad-padding", "protocol-error")),
    rule(
      "6.2 HEADERS too short for its priority", Wire.frame(Wire.headers, 0x25, 1, [0, 0]),
      broken("bad-frame-size", "frame-size-error")),
    FrameRule(
      "6.2 a block in three frames",
      {
        let block = Wire.block(Wire.request())
        return Wire.frame(Wire.headers, 1, 1, Array(block[..<10]))
          + Wire.frame(Wire.continuation, 0, 1, Array(block[10..<20]))
          + Wire.frame(Wire.continuation, 4, 1, Array(block[20...]))
      }(), getLine),
    // 6.3
    rule(
      "6.3 PRIORITY on stream 0", Wire.frame(Wire.priority, 0, 0, [0, 0, 0, 0, 1]),
      broken("missing-stream-id", "protocol-error")),
    rule(
      "6.3 PRIORITY of another size", Wire.frame(Wire.priority, 0, 1, [0, 0, 0, 1]),
      broken("bad-frame-size", "frame-size-error")),
    // 6.4
    rule(
      "6.4 RST_STREAM on stream 0", Wire.reset(0, 8),
      broken("missing-stream-id", "protocol-error")),
    rule(
      "6.4 RST_STREAM of another size", post + Wire.frame(Wire.reset, 0, 1, [0, 0, 8]),
      [postLine] + broken("bad-frame-size", "frame-size-error", last: 1)),
    FrameRule(
      "6.4 RST_STREAM with an unknown code", post + Wire.reset(1, 0xFF), postLine,
      "reset 1 internal-error"),
    // 6.5
    rule(
      "6.5 SETTINGS ACK with a payload", Wire.frame(Wire.settings, 1, 0, [0]),
      broken("bad-frame-size", "frame-size-error")),
    rule(
      "6.5 SETTINGS on a stream", Wire.frame(Wire.settings, 0, 1),
      broken("unwanted-stream-id", "protocol-error")),
    rule(
      "6.5 SETTINGS of another size", Wire.frame(Wire.settings, 0, 0, [0, 3, 0]),
      broken("bad-frame-size", "frame-size-error")),
    rule(
      "6.5.2 SETTINGS_ENABLE_PUSH of 2", Wire.settings([(2, 2)]),
      broken("bad-setting", "protocol-error")),
    rule(
      "6.5.2 SETTINGS_INITIAL_WINDOW_SIZE above the maximum", Wire.settings([(4, 0x8000_0000)]),
      broken("bad-initial-window", "flow-control-error")),
    rule(
      "6.5.2 SETTINGS_MAX_FRAME_SIZE below the minimum", Wire.settings([(5, 16_383)]),
      broken("bad-setting", "protocol-error")),
    rule(
      "6.5.2 SETTINGS_MAX_FRAME_SIZE above the maximum", Wire.settings([(5, 0x100_0000)]),
      broken("bad-setting", "protocol-error")),
    FrameRule(
      "6.5.2 an unknown setting is ignored", Wire.settings([(0xFF, 1)]),
      "settings", "SETTINGS ack"),
    FrameRule(
      "6.5.3 each SETTINGS is acknowledged", Wire.settings() + Wire.settings([(3, 100)]),
      "settings",
      "settings", "SETTINGS ack", "SETTINGS ack"),
    FrameRule("6.5.3 an ACK that was not asked for is ignored", Wire.settingsAck),
    rule(
      "RFC 8441 3: SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", Wire.settings([(8, 2)]),
      broken("bad-setting", "protocol-error")),
    rule(
      "RFC 8441 3: SETTINGS_ENABLE_CONNECT_PROTOCOL withdrawn",
      Wire.settings([(8, 1)]) + Wire.settings([(8, 0)]),
      ["settings", "broken bad-setting", "SETTINGS ack", "GOAWAY 0 protocol-error"]),
    rule(
      "RFC 9218 2.1: SETTINGS_NO_RFC7540_PRIORITIES of 2", Wire.settings([(9, 2)]),
      broken("bad-setting", "protocol-error")),
    // 6.6
    rule(
      "6.6 PUSH_PROMISE", Wire.frame(Wire.push, 4, 1, [0, 0, 0, 2]),
      broken("unexpected-push", "protocol-error")),
    // 6.7
    FrameRule(
      "6.7 PING comes back", Wire.frame(Wire.ping, 0, 0, [0, 0, 0, 0, 0, 0, 1, 2]), "PING ack 258"),
    FrameRule(
      "6.7 an ACK that was not asked for is ignored",
      Wire.frame(Wire.ping, 1, 0, [0, 0, 0, 0, 0, 0, 1, 2])),
    rule(
      "6.7 PING on a stream", Wire.frame(Wire.ping, 0, 1, [UInt8](repeating: 0, count: 8)),
      broken("unwanted-stream-id", "protocol-error")),
    rule(
      "6.7 PING of another size", Wire.frame(Wire.ping, 0, 0, [1, 2, 3]),
      broken("bad-frame-size", "frame-size-error")),
    // 6.8
    rule(
      "6.8 GOAWAY on a stream", Wire.frame(Wire.goAway, 0, 1, [UInt8](repeating: 0, count: 8)),
      broken("unwanted-stream-id", "protocol-error")),
    rule(
      "6.8 GOAWAY too short", Wire.frame(Wire.goAway, 0, 0, [0, 0, 0, 0]),
      broken("bad-frame-size", "frame-size-error")),
    FrameRule("6.8 GOAWAY of a client", Wire.goAway(7, 0), "goaway 7 no-error"),
    // 6.9
    rule(
      "6.9 WINDOW_UPDATE of 0", Wire.windowUpdate(0, 0),
      broken("zero-increment", "protocol-error")),
    FrameRule(
      "6.9 WINDOW_UPDATE of 0 on a stream", post + Wire.windowUpdate(1, 0), postLine,
      "failed 1 zero-stream-increment", "RST 1 protocol-error"),
    rule(
      "6.9 WINDOW_UPDATE of another size", Wire.frame(Wire.windowUpdate, 0, 0, [0, 0, 1]),
      broken("bad-frame-size", "frame-size-error")),
    rule(
      "6.9.1 the connection's window beyond the maximum",
      Wire.windowUpdate(0, 0x7FFF_FFFF),
      broken("connection-window-overflow", "flow-control-error")),
    FrameRule(
      "6.9.1 a stream's window beyond the maximum", post + Wire.windowUpdate(1, 0x7FFF_FFFF),
      postLine,
      "failed 1 stream-window-overflow", "RST 1 flow-control-error"),
    rule(
      "6.9.2 an initial window that takes a stream's beyond the maximum",
      post + Wire.windowUpdate(1, 0x7FFF_0000) + Wire.settings([(4, 0x2_0000)]),
      [postLine] + broken("bad-initial-window", "flow-control-error", last: 1)),
    // 6.10
    rule(
      "6.10 CONTINUATION without HEADERS",
      post + Wire.frame(Wire.continuation, 4, 1, Wire.block([("a", "b")])),
      [postLine] + broken("unexpected-continuation", "protocol-error", last: 1)),
    rule(
      "6.10 CONTINUATION on stream 0",
      Wire.frame(Wire.headers, 1, 1, Wire.block(Wire.request()))
        + Wire.frame(Wire.continuation, 4, 0),
      broken("expected-continuation", "protocol-error")),
    // RFC 9218 7.1
    FrameRule(
      "RFC 9218 7.1: PRIORITY_UPDATE",
      Wire.frame(Wire.priorityUpdate, 0, 0, [0, 0, 0, 1] + Array("u=1".utf8))),
    rule(
      "RFC 9218 7.1: PRIORITY_UPDATE on a stream",
      Wire.frame(Wire.priorityUpdate, 0, 1, [0, 0, 0, 1] + Array("u=1".utf8)),
      broken("bad-priority-update", "protocol-error")),
    rule(
      "RFC 9218 7.1: PRIORITY_UPDATE of stream 0",
      Wire.frame(Wire.priorityUpdate, 0, 0, [0, 0, 0, 0]),
      broken("bad-priority-update", "protocol-error")),
  ]

  /// Cases from the first byte on (3.4).
  static let beginnings: [FrameRule] = [
    rule(
      "3.4 another preface", Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8),
      broken("bad-preface", "protocol-error")),
    rule(
      "3.4 no SETTINGS behind the preface", Wire.preface + get,
      broken("first-frame-not-settings", "protocol-error")),
    rule(
      "3.4 ACK as the first SETTINGS", Wire.preface + Wire.settingsAck,
      broken("first-frame-not-settings", "protocol-error")),
    FrameRule("3.4 the preface", Wire.preface + Wire.settings(), "settings", "SETTINGS ack"),
  ]
}

@Suite struct FrameRuleTests {
  @Test(arguments: FrameRule.all)
  func aServerAnswersAsTheRFCSays(rule: FrameRule) {
    #expect(outcome(rule.input) == rule.lines)
  }

  @Test(arguments: FrameRule.beginnings)
  func aServerBeginsAsTheRFCSays(rule: FrameRule) {
    func bench() -> Bench {
      let bench = Bench(.server)
      bench.clear()
      return bench
    }
    #expect(outcome(rule.input, with: bench()) == rule.lines)
  }

  @Test func theFirstSettingsAreAsShortAsPossible() {
    let server = Bench(.server)
    #expect(
      server.frames() == [
        "SETTINGS 1=4096 4=65536 6=32768 3=100 9=1 8=1", "WINDOW_UPDATE 0 +983041",
      ])
    let client = Bench(.client)
    #expect(
      client.frames() == ["SETTINGS 1=4096 4=65536 6=32768 2=0", "WINDOW_UPDATE 0 +983041"])
  }

  @Test func afterAnErrorEverythingIsIgnored() {
    let bench = Bench.server()
    bench.feed(Wire.data(1, "x"))
    bench.clear()
    bench.feed(Wire.headers(1, Wire.request()))
    #expect(bench.events == ["broken frame-on-idle-stream"])
    #expect(bench.frames() == [])
    #expect(bench.connection.isFinished == true)
  }

  // MARK: As a client

  private func client(_ count: Int = 1) -> Bench {
    let bench = Bench.client()
    for _ in 0..<count { bench.request() }
    bench.clear()
    return bench
  }

  @Test(arguments: [
    (Wire.headers(2, [(":status", "200")]), "bad-stream-id"),
    (Wire.headers(3, [(":status", "200")]), "frame-on-idle-stream"),
    (Wire.data(3, "x"), "frame-on-idle-stream"), (Wire.reset(3, 0), "frame-on-idle-stream"),
    (Wire.windowUpdate(2, 1), "frame-on-idle-stream"),
    (Wire.frame(Wire.push, 4, 1, [0, 0, 0, 2]), "unexpected-push"),
    (Wire.settings([(2, 1)]), "bad-setting"),
    (Wire.frame(Wire.priorityUpdate, 0, 0, [0, 0, 0, 1]), "bad-priority-update"),
    (Wire.goAway(1, 0) + Wire.goAway(3, 0), "rising-go-away"),
  ])
  func aServerThatBreaksTheRulesIsLeft(input: [UInt8], error: String) {
    #expect(outcome(input, with: client()).contains("broken \(error)"))
  }

  @Test func aResponseComesInParts() {
    let input =
      Wire.headers(1, [(":status", "200"), ("content-length", "10")]) + Wire.data(1, "hello")
      + Wire.data(1, "world") + Wire.headers(1, [("x-sum", "1")], ends: true)
    #expect(
      outcome(input, with: client()) == [
        "response 1 200 + content-length=10 known(10)", "piece 1 helloworld",
        "trailers 1 + x-sum=1",
      ])
  }

  @Test func streamsAreOpenedUpToTheServersLimit() {
    let bench = Bench.client(settings: [(3, 2)])
    #expect(bench.request() == .opened(stream: 1))
    #expect(bench.request() == .opened(stream: 3))
    #expect(bench.request() == .full)
    bench.feed(Wire.headers(1, [(":status", "200")], ends: true))
    bench.release(1)
    #expect(bench.request() == .opened(stream: 5))
    // A lower limit only pauses new streams.
    bench.feed(Wire.settings([(3, 1)]))
    bench.feed(Wire.headers(3, [(":status", "200")], ends: true))
    bench.release(3)
    #expect(bench.request() == .full)
    #expect(bench.connection.takesNoMoreStreams == false)
    bench.feed(Wire.settings([(3, 5)]))
    #expect(bench.connection.freeStreamCount == 4)
  }

  @Test func beforeSettingsAHundredStreamsAreAssumed() {
    let bench = Bench(.client)
    #expect(bench.connection.freeStreamCount == 100)
  }

  @Test func identifiersEnd() {
    let bench = Bench.client()
    bench.connection.nextStream = 0x7FFF_FFFF
    #expect(bench.request() == .opened(stream: 0x7FFF_FFFF))
    #expect(bench.request() == .full)
    #expect(bench.connection.takesNoMoreStreams == true)
  }

  @Test func aServerMayResetARequestAfterItsResponse() {
    let bench = Bench.client()
    bench.request("POST", body: .streamed)
    bench.feed(Wire.headers(1, [(":status", "413")], ends: true) + Wire.reset(1, 0))
    #expect(bench.events == ["response 1 413 known(0) end", "reset 1 no-error"])
  }

  @Test func extendedConnectNeedsTheServersOffer() {
    func open(_ bench: Bench) -> OpenOutcome {
      var head = RequestHead()
      head.method = .connect
      head.methodName = head.fields.store(("CONNECT" as StaticString).bytes)
      head.connectProtocol = head.fields.store(("websocket" as StaticString).bytes)
      head.path = head.fields.store(("/chat" as StaticString).bytes)
      head.authority = head.fields.store(("a" as StaticString).bytes)
      return bench.connection.open(
        head, scheme: .https, body: .streamed, owner: 0, workspace: &bench.workspace,
        into: &bench.output)
    }
    #expect(open(Bench.client()) == .refused(.unsendableHead))
    let bench = Bench.client(settings: [(8, 1)])
    #expect(open(bench) == .opened(stream: 1))
    #expect(
      bench.frames() == [
        "HEADERS 1 :method: CONNECT + :scheme: https + :path: /chat + :authority: a"
          + " + :protocol: websocket"
      ])
  }

  @Test func aRequestOfHTTP1BecomesAnExtendedConnect() {
    var head = RequestHead()
    head.method = .get
    head.path = head.fields.store(("/chat" as StaticString).bytes)
    head.authority = head.fields.store(("a" as StaticString).bytes)
    head.fields.append(.upgrade, "websocket")
    head.fields.append(.secWebSocketKey, "dGhlIHNhbXBsZSBub25jZQ==")
    head.fields.append(.secWebSocketVersion, "13")
    let bench = Bench.client(settings: [(8, 1)])
    let tunnel = head.fields.first(.upgrade) ?? .empty
    let outcome = bench.connection.open(
      head, scheme: .http, body: .streamed, owner: 0, tunnel: tunnel, workspace: &bench.workspace,
      into: &bench.output)
    #expect(outcome == .opened(stream: 1))
    #expect(
      bench.frames() == [
        "HEADERS 1 :method: CONNECT + :scheme: http + :path: /chat + :authority: a"
          + " + :protocol: websocket + sec-websocket-version: 13"
      ])
    // The response has no body, but bytes follow.
    bench.feed(Wire.headers(1, [(":status", "200")]))
    #expect(bench.events.last == "response 1 200 streamed")
  }

  @Test func aClientKnowsWhenTheServersSettingsAreThere() {
    let bench = Bench(.client)
    #expect(bench.connection.knowsPeer == false)
    bench.feed(Wire.settings([]))
    #expect(bench.connection.knowsPeer == true)
  }
}
