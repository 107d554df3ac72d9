// gRPC as far as a proxy reads it: deadlines, statuses, pushback, methods.

import Balancing
import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct GRPCTests {
  private func timeout(_ values: String...) -> GRPCTimeout {
    var fields = FieldBlock()
    for value in values {
      _ = fields.append(name: Array("Grpc-Timeout".utf8).span, value: Array(value.utf8).span)
    }
    return GRPCTimeout(fields)
  }

  /// Names of media types have no case (RFC 9110 8.3.1).
  @Test(arguments: [
    ("application/grpc", true), ("application/grpc+proto", true), ("Application/gRPC", true),
    ("APPLICATION/GRPC+json", true), ("application/grpc;a=b", true), ("application/grpc ; a", true),
    ("application/grpc-web", false), ("application/grp", false), ("text/plain", false),
  ])
  func aCallHasItsMediaType(_ type: String, _ isCall: Bool) {
    var head = request([("Content-Type", type)], version: .http2)
    head.method = Method(Array("POST".utf8).span)
    #expect(head.isGRPC == isCall)
  }

  @Test(arguments: 1...12)
  func messagesAreFollowedInPiecesOfAnySize(_ size: Int) {
    let bytes: [UInt8] = [0, 0, 0, 0, 3, 1, 2, 3] + [0, 0, 0, 0, 0] + [1, 0, 0, 1, 1] + [
      UInt8
    ](repeating: 9, count: 257)
    let ends: Set = [0, 8, 13, bytes.count]
    var messages = GRPCMessages()
    var place = 0
    #expect(messages.isBetweenMessages)
    while place < bytes.count {
      let end = min(place + size, bytes.count)
      messages.take(bytes.span.extracting(place..<end))
      place = end
      #expect(messages.isBetweenMessages == ends.contains(place), "\(place)")
    }
  }

  @Test(arguments: [
    ("1H", TimeSpan.seconds(3600)), ("2M", .seconds(120)), ("30S", .seconds(30)),
    ("250m", .milliseconds(250)), ("7u", .microseconds(7)), ("99999999n", .nanoseconds(99_999_999)),
    ("0S", .zero), ("00000001S", .seconds(1)), ("99999999H", .seconds(99_999_999 * 3600)),
  ])
  func aDeadlineHasAtMostEightDigitsAndAUnit(_ text: String, _ time: TimeSpan) {
    #expect(timeout(text) == .after(time))
  }

  @Test(arguments: [
    "", "S", "1", "1h", "1s", "123456789S", "-1S", "+1S", "1.5S", "1 S", " 1S", "1Sx",
  ])
  func anythingElseIsMalformed(_ text: String) { #expect(timeout(text) == .malformed) }

  @Test func twoDeadlinesAreMalformedAndNoneIsNone() {
    #expect(timeout("1S", "1S") == .malformed)
    #expect(timeout() == .none)
  }

  @Test(arguments: [
    (TimeSpan.nanoseconds(1), "1n"), (.zero, "0n"), (.nanoseconds(-5), "0n"),
    (.nanoseconds(99_999_999), "99999999n"), (.nanoseconds(100_000_001), "100001u"),
    (.seconds(99), "99000000u"), (.seconds(100), "100000m"), (.seconds(100_000), "100000S"),
    (.seconds(99_999_999), "99999999S"), (.seconds(100_000_000), "27778H"),
    (TimeSpan(nanoseconds: .max), "2562048H"),
  ])
  func whatIsLeftIsWrittenInTheSmallestUnitThatFits(_ time: TimeSpan, _ text: String) {
    var fields = FieldBlock()
    var scratch = ByteBuffer(capacity: 16)
    _ = fields.append(name: Array("grpc-timeout".utf8).span, value: Array("9S".utf8).span)
    GRPCTimeout.set(time, in: &fields, scratch: &scratch)
    let value = fields.first(named: Array("grpc-timeout".utf8).span).map { fields.array($0) }
    #expect(value == Array(text.utf8))
    #expect(GRPCTimeout(fields) != .malformed)
  }

  @Test(arguments: [
    (nil, true), ("0", true), ("1", false), ("-1", false), ("", false), ("soon", false),
  ] as [(String?, Bool)])
  func aServerCanPreventARetry(_ pushback: String?, _ isAllowed: Bool) {
    var fields = FieldBlock()
    if let pushback {
      _ = fields.append(
        name: Array("grpc-retry-pushback-ms".utf8).span, value: Array(pushback.utf8).span)
    }
    let allows = fields.allowsGRPCRetry
    #expect(allows == isAllowed)
  }

  @Test(arguments: [
    ("/a.b.C/Do", "a.b.C Do"), ("/a/b", "a b"), ("/a_1-x/B", "a_1-x B"), ("/", nil), ("/a", nil),
    ("/a/", nil), ("//b", nil), ("/a/b/c", nil), ("/a/b?", nil), ("/a%20/b", nil), ("a/b", nil),
    ("/" + String(repeating: "a", count: 250) + "/b", nil),
  ] as [(String, String?)])
  func aPathNamesAServiceAndAMethod(_ path: String, _ parts: String?) {
    let bytes = Array(path.utf8)
    let found = GRPCMethod(path: bytes.span).map { method in
      String(decoding: bytes[method.service], as: UTF8.self) + " "
        + String(decoding: bytes[method.method], as: UTF8.self)
    }
    #expect(found == parts)
  }

  private static func message(
    _ failure: FailureWord?, http status: UInt16 = 502, id: String = ""
  ) -> String {
    var fields = FieldBlock()
    fields.appendGRPCStatus(
      14, GRPCMessage(failure, http: status, requestID: Array(id.utf8)))
    guard let value = fields.first(named: Array("grpc-message".utf8).span) else { return "" }
    return String(decoding: fields.array(value), as: UTF8.self)
  }

  @Test(arguments: FailureWord.allCases)
  func theMessageOfEachFailureIsShortAndNeedsNoEncoding(_ word: FailureWord) {
    let message = Self.message(word)
    #expect(!message.isEmpty && message.utf8.count <= 100)
    // As in error pages, the cause is not for clients.
    #expect(!message.contains("\(word.name)"))
    if FailureWord.ofAttempts.contains(word) {
      #expect(message == "the service is not working as it should")
    }
    for byte in message.utf8 {
      #expect((0x20...0x7E).contains(byte) && byte != UInt8(ascii: "%"), "\(message)")
    }
  }

  @Test func theMessageHasTheRequestEncodedAndBounded() {
    #expect(
      Self.message(.deadlineExceeded, http: 504, id: "a%b")
        == "the call did not end before its deadline; request a%25b")
    #expect(Self.message(nil, http: 404) == "Not Found")
    #expect(
      Self.message(.allDown, http: 503) == "the service is not available at the moment")
    #expect(
      Self.message(.responseTimeout, http: 504) == "the service did not respond in time")
    for id in ["a b", "ä", String(repeating: "%", count: 129)] {
      #expect(!Self.message(.allDown, id: id).contains("request"))
    }
    #expect(Self.message(.allDown, id: String(repeating: "%", count: 128)).utf8.count < 512)
  }

  @Test(arguments: [
    (ExchangeFailure.deadlineExceeded, 4), (.upstream(.responseStalled), 4), (.requestTimeout, 4),
    (.upstream(.truncatedResponse), 14), (.unavailable(.allDown), 14), (.malformedHead, 13),
    (.upstream(.grpcStatus(8)), 8), (.noRoute, 12),
  ] as [(ExchangeFailure, UInt8)])
  func eachFailureIsAStatus(_ failure: ExchangeFailure, _ code: UInt8) {
    #expect(GRPCStatus.code(of: failure, http: failure.status) == code)
  }
}
