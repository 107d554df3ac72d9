// AccessLog: each exchange is one line, whatever the client sent.

import Balancing
import Foundation
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor
import TLS
import Testing

@testable import Server

@Suite struct AccessLogTests {
  /// The default content of a line in the tests below.
  private struct Entry {
    var facts = AccessLogFacts(
      client: IPAddress("192.0.2.7"), status: 200, failure: nil, reason: nil,
      receivedByteCount: 12, sentByteCount: 3456, duration: .microseconds(78_009), tls: nil)
    var target = "/a?b=c"
    var host = "example.org"
    var userAgent = "curl/8"
    var referer = ""
    var hasRequest = true
    var attempts = AttemptList()
    var names: [LogName] = []
  }

  private func settings(_ format: AccessLog.Format) -> LogSettings {
    var settings = LogSettings()
    settings.format = format
    return settings
  }

  /// The lines for `entries`.
  private func written(_ entries: [Entry], _ format: AccessLog.Format) throws -> [String] {
    let path = "/tmp/martlet-\(getpid())-\(UInt32.random(in: 0 ... .max)).log"
    defer { unlink(path) }
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: path))), producerCount: 1
    ) { _ in }
    let metrics = WorkerMetrics()
    var log = AccessLog(settings: settings(format), producer: writer.producer(0), metrics: metrics)
    for entry in entries {
      var facts = entry.facts
      facts.hasRequest = entry.hasRequest
      log.write(
        facts, listener: LogName("https \"1\""), request: head(entry),
        attempts: entry.attempts, names: entry.names)
    }
    let dropped = metrics.value(.accessLogLinesDropped)
    #expect(dropped == 0 && writer.stop())
    let bytes = try File.read(path, limit: 1 << 20)
    return String(decoding: bytes, as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
  }

  /// A head that no parser would accept.
  private func head(_ entry: Entry) -> RequestHead {
    var head = RequestHead()
    let fields = [("User-Agent", entry.userAgent), ("Referer", entry.referer)]
    head.adopt(Array(fields.map { "\($0.0): \($0.1)\r\n" }.joined().utf8).span)
    var offset = 0
    for (name, value) in fields {
      let start = offset + name.utf8.count + 2
      let end = start + value.utf8.count
      head.fields.list(
        KnownField(Array(name.utf8).span), name: Slice(offset..<(start - 2)),
        value: Slice(start..<end), lineEnd: end + 2)
      offset = end + 2
    }
    head.methodName = head.fields.store(Array("GET".utf8).span)
    head.target = head.fields.store(Array(entry.target.utf8).span)
    head.authority = head.fields.store(Array(entry.host.utf8).span)
    return head
  }

  private func object(_ line: String) throws -> [String: Any] {
    let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
    return try #require(value as? [String: Any])
  }

  private static let twoAttempts: AttemptList = {
    var exchange = Exchange(startedAt: .origin, isIdempotent: true)
    let events: [(Exchange.Event, microseconds: Int64)] = [
      (.routed(collectsUntil: nil), 0),
      (.attemptStarted(backend: 1, isReused: true, isFailOpen: false), 0),
      (.attemptFailed(.closedBeforeResponse, .retryElsewhere), 2000),
      (.attemptStarted(backend: 0, isReused: false, isFailOpen: false), 2000),
      (.connected, 3000), (.head(status: 201, retry: nil), 4000), (.responseEnded, 12_034),
    ]
    for (event, time) in events {
      _ = exchange.handle(event, at: .origin + .microseconds(time))
    }
    return exchange.attempts
  }()

  // MARK: JSON

  @Test func unusualEventsAreInTheLine() throws {
    var entry = Entry()
    entry.facts.queueTime = .microseconds(12_345)
    entry.facts.missedRetry = .bodyNotKept
    var exchange = Exchange(startedAt: .origin, isIdempotent: true)
    _ = exchange.handle(.routed(collectsUntil: nil), at: .origin)
    _ = exchange.handle(
      .attemptStarted(backend: 0, isReused: false, isFailOpen: true), at: .origin)
    entry.attempts = exchange.attempts
    entry.names = ["10.0.0.1:80"]
    let object = try object(try #require(try written([entry], .json).first))
    #expect(object["queued_ms"] as? Double == 12.345)
    #expect(object["retry"] as? String == "body-not-kept")
    let attempts = try #require(object["attempts"] as? [[String: Any]])
    #expect(attempts[0]["fail_open"] as? Bool == true)
    let text = try #require(try written([entry], .text).first)
    #expect(text.hasSuffix("[10.0.0.1:80 pending 0.000ms fail-open] queued 12.345ms body-not-kept"))
  }

  @Test func aJSONLineHasEveryField() throws {
    var entry = Entry()
    entry.facts.failure = "no-route"
    entry.facts.reason = "bad-host"
    entry.facts.tls = TLSFacts(
      version: "TLSv1.3", suite: CipherSuite(code: 0x1301), isResumed: true)
    entry.facts.clientPort = 54_321
    entry.facts.route = "shop.example.org/\"a\""
    entry.facts.pool = "app"
    entry.facts.firstByteTime = .microseconds(4_000)
    entry.facts.connectTime = .microseconds(1_001)
    entry.referer = "https://r/"
    entry.attempts = Self.twoAttempts
    entry.names = ["10.0.0.1:80", "[::1]:80"]
    let line = try #require(try written([entry], .json).first)
    let object = try object(line)
    let expected: [String: String] = [
      "listener": "https \"1\"", "client": "192.0.2.7", "method": "GET", "host": "example.org",
      "target": "/a?b=c", "version": "1.1", "failure": "no-route", "reason": "bad-host",
      "tls": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "user_agent": "curl/8",
      "referer": "https://r/", "route": "shop.example.org/\"a\"", "pool": "app",
    ]
    for (key, value) in expected { #expect(object[key] as? String == value, "\(key)") }
    #expect(object["status"] as? Int == 200 && object["received"] as? Int == 12)
    #expect(object["sent"] as? Int == 3456 && object["ms"] as? Double == 78.009)
    #expect(object["resumed"] as? Bool == true && object["client_port"] as? Int == 54_321)
    #expect(object["first_byte_ms"] as? Double == 4 && object["connect_ms"] as? Double == 1.001)
    let time = try #require(object["time"] as? String)
    #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
    let attempts = try #require(object["attempts"] as? [[String: Any]])
    #expect(attempts.map { $0["backend"] as? String } == ["[::1]:80", "10.0.0.1:80"])
    #expect(attempts.map { $0["result"] as? String } == ["closed-before-response", "ok"])
    #expect(attempts.map { $0["reused"] as? Bool } == [true, false])
    #expect(attempts.map { $0["status"] as? Int } == [nil, 201])
    #expect(attempts.map { $0["ms"] as? Double } == [2.0, 10.034])
    #expect(object.count == expected.count + 10)
  }

  @Test func whatIsNotKnownIsLeftOut() throws {
    var entry = Entry()
    entry.hasRequest = false
    entry.facts.client = nil
    let object = try object(try #require(try written([entry], .json).first))
    #expect(
      Set(object.keys) == ["time", "listener", "status", "received", "sent", "ms", "attempts"])
  }

  @Test func aBackendWithoutANameIsNotLookedForOutsideTheList() throws {
    var entry = Entry()
    entry.attempts = Self.twoAttempts
    let object = try object(try #require(try written([entry], .json).first))
    let attempts = try #require(object["attempts"] as? [[String: Any]])
    #expect(attempts.map { $0["backend"] as? String } == ["", ""])
  }

  static let hostile = [
    "\"", "\\", "\\\"", "\n", "\r\n{\"status\":200}", "\u{0}\u{1F}\u{7F}", "\t", "é\u{2028}",
    "\u{1B}[31m", "\u{9B}31m", "</script>", "a\" 200 0 0.000ms ok []", "%0a",
  ]

  @Test(arguments: hostile) func nothingThatAClientSendsBreaksTheJSON(text: String) throws {
    var entry = Entry()
    entry.target = "/\(text)"
    entry.userAgent = text
    entry.referer = text
    entry.host = text
    let lines = try written([entry, Entry()], .json)
    #expect(lines.count == 2)
    let object = try object(try #require(lines.first))
    #expect(object["target"] as? String == "/\(text)")
    #expect(object["user_agent"] as? String == text && object["referer"] as? String == text)
    #expect(object["host"] as? String == text && object["status"] as? Int == 200)
    #expect(
      lines.allSatisfy { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0 != "\u{9B}" } })
  }

  // MARK: Text

  @Test func aTextLineHasItsParts() throws {
    var entry = Entry()
    entry.facts.failure = "no-route"
    entry.facts.reason = "x"
    entry.attempts = Self.twoAttempts
    entry.names = ["b0", "b1"]
    let line = try #require(try written([entry], .text).first)
    let expected = """
       192.0.2.7 GET "example.org" "/a?b=c" 200 3456 78.009ms no-route:x \
      [b1 closed-before-response 2.000ms, b0 ok 10.034ms]
      """
    #expect(line.hasSuffix(expected) && line.utf8.count == expected.utf8.count + 24)
  }

  @Test func whatWasToleratedIsNamedInBothFormats() throws {
    var entry = Entry()
    entry.facts.tolerated.insert(.badFieldName)
    entry.facts.tolerated.insert(.obsFold)
    let object = try object(try #require(try written([entry], .json).first))
    #expect(object["tolerated"] as? [String] == ["obs-fold", "bad-field-name"])
    let line = try #require(try written([entry], .text).first)
    #expect(line.hasSuffix("ms ok tolerated:obs-fold tolerated:bad-field-name []"))
  }

  @Test func aConnectionHasItsListenerPoolAndBytes() throws {
    var entry = Entry()
    entry.hasRequest = false
    entry.facts.kind = .tcp
    entry.facts.pool = "re dis"
    entry.facts.failure = "relay-idle"
    let line = try #require(try written([entry], .text).first)
    let expected =
      #" 192.0.2.7 TCP "" "https \"1\"">"re dis" - 3456 78.009ms relay-idle [] received 12"#
    #expect(line.hasSuffix(expected), "\(line)")
    entry.facts.pool = nil
    #expect(try written([entry], .text).first?.contains(#""https \"1\"">- - 3456"#) == true)
    let object = try object(try #require(try written([entry], .json).first))
    #expect(object["kind"] as? String == "tcp" && object["status"] == nil)
  }

  @Test func aTextLineWithoutARequestKeepsItsColumns() throws {
    var entry = Entry()
    entry.hasRequest = false
    entry.facts.client = nil
    let line = try #require(try written([entry], .text).first)
    #expect(line.hasSuffix("Z - - - - 200 3456 78.009ms ok []"))
  }

  @Test(arguments: hostile) func nothingThatAClientSendsBreaksTheText(text: String) throws {
    var entry = Entry()
    entry.target = text
    entry.host = text
    let lines = try written([entry, Entry()], .text)
    #expect(lines.count == 2)
    // A client can't close the quotes and add a fake column.
    let quotes = try #require(lines.first).replacing(/\\./, with: "").filter { $0 == "\"" }
    #expect(quotes.count == 4)
  }

  @Test func aLogThatIsOffWritesNothing() throws {
    #expect(try written([Entry()], .off).isEmpty)
    let log = AccessLog(settings: settings(.json), producer: nil)
    let isOn = log.isOn
    #expect(!isOn)
  }

  @Test func aLineThatDoesNotFitIsCounted() throws {
    let writer = try AccessLogWriter(
      .file(OutputFile(.file(path: "/dev/null"))), producerCount: 1, ringByteCount: 64
    ) { _ in }
    let metrics = WorkerMetrics()
    var log = AccessLog(settings: settings(.text), producer: writer.producer(0), metrics: metrics)
    log.write(
      Entry().facts, listener: "", request: head(Entry()), attempts: Self.twoAttempts, names: [])
    let dropped = metrics.value(.accessLogLinesDropped)
    #expect(dropped == 1)
  }

  // MARK: Dates

  @Test(arguments: [
    (0, 1970, 1, 1), (58, 1970, 2, 28), (59, 1970, 3, 1), (364, 1970, 12, 31), (789, 1972, 2, 29),
    (790, 1972, 3, 1), (11_016, 2000, 2, 29), (11_017, 2000, 3, 1), (19_782, 2024, 2, 29),
    (20_454, 2026, 1, 1), (47_540, 2100, 2, 28), (47_541, 2100, 3, 1), (-1, 1969, 12, 31),
    (-719_468, 0, 3, 1), (-719_469, 0, 2, 29),
  ])
  func knownDaysHaveTheirDates(days: Int, year: Int, month: Int, day: Int) {
    #expect(civilDate(daysSinceEpoch: days) == (year, month, day))
  }

  @Test(arguments: [
    (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
    (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
  ])
  func datesOfHTTP(seconds: UInt64, text: String) {
    #expect(String(decoding: httpDate(seconds: seconds), as: UTF8.self) == text)
  }

  @Test func everyDayOfFourCenturiesFollowsTheOneBefore() {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = .gmt
    for days in stride(from: 0, to: 146_097, by: 13) {
      let date = calendar.dateComponents(
        [.year, .month, .day], from: Date(timeIntervalSince1970: Double(days) * 86_400))
      let civil = civilDate(daysSinceEpoch: days)
      #expect(civil == (date.year ?? 0, date.month ?? 0, date.day ?? 0))
    }
  }
}
