// What a tolerant parser accepts, how it repairs it, and what it still refuses.
//
// Each case goes through a strict and a tolerant parser: whole, split at each position, and byte by
// byte. What the tolerant parser accepts is encoded so that a strict parser accepts it.

import HTTP
import HTTP1
import Primitives
import Testing

struct ToleranceTests {
  private func outcome(_ lines: String, tolerates: Bool) -> String {
    outcome(of: "POST / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8.map { $0 }, tolerates)
  }

  private func outcome(of input: [UInt8], _ tolerates: Bool) -> String {
    everyWay(input) { arrivals in
      var parser = RequestParser(tolerates: tolerates)
      var head = RequestHead()
      do throws(HTTP1Error) {
        for count in arrivals {
          guard case .complete = try parser.parse(input.span.extracting(0..<count), into: &head)
          else { continue }
          _ = try head.framing()
          let reasons = HTTP1Error.tolerable.filter { parser.tolerated.contains($0) }
          return "\(reasons.map { "\($0)" }.joined(separator: " "))\(describeFields(head.fields))"
        }
        return "incomplete"
      } catch {
        return "\(error)"
      }
    }
  }

  @Test(arguments: [
    // Several identical lengths become one field.
    (
      "Content-Length: 5\r\nContent-Length: 5\r\n", HTTP1Error.repeatedContentLength,
      "repeatedContentLength + Host=a + Content-Length=5"
    ),
    (
      "Content-Length: 5, 5\r\nX: y\r\n", .repeatedContentLength,
      "repeatedContentLength + Host=a + X=y + Content-Length=5"
    ),
    (
      "Content-Length: 5\r\nContent-Length: 05\r\n", .repeatedContentLength,
      "repeatedContentLength + Host=a + Content-Length=5"
    ),
    // A fold becomes spaces.
    ("X: a\r\n b\r\nY: z\r\n", .obsFold, "obsFold + Host=a + X=a   b + Y=z"),
    ("X: a\r\n\tb \t\r\n  c\r\n", .obsFold, "obsFold + Host=a + X=a  \tb \t    c"),
    ("X:\r\n a\r\n", .obsFold, "obsFold + Host=a + X=a"),
    ("X: a\r\n b c:d\r\n", .obsFold, "obsFold + Host=a + X=a   b c:d"),
    ("X: a\r\n \"b\": c\r\n", .obsFold, "obsFold + Host=a + X=a   \"b\": c"),
    // A space before the colon is removed.
    ("X : y\r\n", .spaceBeforeColon, "spaceBeforeColon + Host=a + X=y"),
    ("X \t: \r\n", .spaceBeforeColon, "spaceBeforeColon + Host=a + X="),
    // A field with an invalid name is dropped.
    ("X(y): z\r\nA: b\r\n", .badFieldName, "badFieldName + Host=a + A=b"),
    ("X[0]: z: w\r\n", .badFieldName, "badFieldName + Host=a"),
    ("@: \r\n", .badFieldName, "badFieldName + Host=a"),
    // Several errors: the strict parser reports the first.
    (
      "X : y\r\nB: 1\r\n 2\r\nC{}: 3\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
      .spaceBeforeColon,
      "repeatedContentLength obsFold spaceBeforeColon badFieldName"
        + " + Host=a + X=y + B=1   2 + Content-Length=0"
    ),
  ])
  func repairs(lines: String, error: HTTP1Error, expected: String) {
    #expect(outcome(lines, tolerates: false) == "\(error)")
    #expect(outcome(lines, tolerates: true) == expected)
  }

  @Test(arguments: [
    // Different lengths, or invalid ones.
    ("Content-Length: 5\r\nContent-Length: 6\r\n", HTTP1Error.differingContentLengths),
    ("Content-Length: 5, 6\r\n", .differingContentLengths),
    ("Content-Length: 5,\r\n", .badContentLength),
    ("Content-Length: +5\r\n", .badContentLength),
    ("Content-Length: 5\r\nContent-Length: 0x5\r\n", .badContentLength),
    // A length next to a coding, and codings that are not exactly `chunked`.
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", .contentLengthWithTransferEncoding),
    (
      "Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      .contentLengthWithTransferEncoding
    ),
    ("Transfer-Encoding: chunked, identity\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: xchunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: \"chunked\"\r\n", .transferEncodingNotChunked),
    // Line ends and controls.
    ("X: y\n", .bareLineFeed), ("X: a\n b\r\n", .bareLineFeed),
    ("X: a\rb\r\n", .bareCarriageReturn), ("X: a\u{0}b\r\n", .controlCharacter),
    ("X\u{B}: a\r\n", .controlCharacter),
    // Folds in framing fields, or that look like a field or like the end of the head.
    ("Content-Length:\r\n 5\r\n", .obsFold), ("Content-Length: 5\r\n 0\r\n", .obsFold),
    ("Transfer-Encoding:\r\n chunked\r\n", .obsFold),
    ("Transfer-Encoding: chunked\r\n , identity\r\n", .obsFold),
    ("X: a\r\n Content-Length: 5\r\n", .obsFold), ("X: a\r\n\tb :c\r\n", .obsFold),
    ("X: a\r\n : c\r\n", .obsFold), ("X: a\r\n \r\n", .obsFold),
    ("X: a\r\n \t\r\n b\r\n", .obsFold),
    ("Transfer_Encoding: a\r\n b\r\n", .obsFold), ("Connection: a\r\n b\r\n", .obsFold),
    // Spaces after names that affect framing or routing, or are similar to such names.
    ("Content-Length : 5\r\n", .spaceBeforeColon), ("content-length\t: 5\r\n", .spaceBeforeColon),
    ("Transfer-Encoding : chunked\r\n", .spaceBeforeColon), ("Host : b\r\n", .spaceBeforeColon),
    ("Transfer_Encoding : chunked\r\n", .spaceBeforeColon), ("TE : x\r\n", .spaceBeforeColon),
    ("X-Content-Length : 5\r\n", .spaceBeforeColon), ("Connection : x\r\n", .spaceBeforeColon),
    // Names that look like framing, that are invalid, or that are not visible.
    ("\"Content-Length\": 5\r\n", .badFieldName), ("Content-Length[]: 5\r\n", .badFieldName),
    ("(Transfer-Encoding): chunked\r\n", .badFieldName),
    ("Transfer@Encoding: x\r\n", .badFieldName),
    ("[conContent-Length]: 5\r\n", .badFieldName), ("[ccontent1length]: 5\r\n", .badFieldName),
    ("[trantransfer-encodingt]: x\r\n", .badFieldName),
    ("xTransfer-Encoding,: chunked\r\n", .badFieldName), ("[Host]: b\r\n", .badFieldName),
    (": x\r\n", .badFieldName), (":Content-Length: 5\r\n", .badFieldName),
    ("X\r\n", .badFieldName), ("X y: z\r\n", .badFieldName), ("X y\r\n", .badFieldName),
    ("X\u{E4}: z\r\n", .badFieldName), ("Content-Length\u{A0}: 5\r\n", .badFieldName),
    // Host.
    ("Host: a\r\n", .duplicateHost),
  ])
  func refusesInEveryMode(lines: String, error: HTTP1Error) {
    #expect(outcome(lines, tolerates: false) == "\(error)")
    #expect(outcome(lines, tolerates: true) == "\(error)")
  }

  @Test func aFoldAfterADroppedFieldIsNeverTolerated() {
    #expect(outcome("X(y): z\r\n w\r\n", tolerates: false) == "badFieldName")
    #expect(outcome("X(y): z\r\n w\r\n", tolerates: true) == "obsFold")
  }

  @Test(arguments: [
    " X: a\r\n", "\tContent-Length: 5\r\n",
  ])
  func aFoldedFirstLineIsNeverTolerated(lines: String) {
    // Some parsers take it for a part of the request line, some skip it.
    let text = "GET / HTTP/1.1\r\n\(lines)Host: a\r\n\r\n"
    let input = Array(text.utf8)
    var parser = RequestParser(tolerates: true)
    var head = RequestHead()
    #expect(throws: HTTP1Error.obsFold) { try parser.parse(input.span, into: &head) }
  }

  @Test(arguments: [
    "X: a\r\n b\r\n", "X : y\r\n", "X(y): z\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
    "X : a\r\n b\r\n\tc\r\nY{}: z\r\nW: v\r\nContent-Length: 5, 5\r\n",
  ])
  func whatIsForwardedIsStrictlyValid(lines: String) throws {
    let input = Array("POST / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8)
    var parser = RequestParser(tolerates: true)
    var head = RequestHead()
    _ = try parser.parse(input.span, into: &head)
    let framing = try head.framing()
    var output = ByteBuffer()
    head.encode(body: framing.bodyLength, connection: .keepAlive, into: &output)
    var strict = RequestParser()
    var second = RequestHead()
    let progress = try strict.parse(output.bytes, into: &second)
    #expect(progress == .complete(byteCount: output.count))
    #expect(try second.framing() == framing)
    let fields = describeFields(second.fields)
    #expect(!fields.contains("\r") && !fields.contains("\n"))
  }

  /// The parts of a parsed target; bytes from 0x80 on are single characters.
  private func target(_ target: String, tolerates: Bool = true, max: Int = 8192) -> String {
    let bytes = target.unicodeScalars.flatMap { scalar in
      scalar.value < 0x100 ? [UInt8(scalar.value)] : Array(String(scalar).utf8)
    }
    let input = Array("GET ".utf8) + bytes + Array(" HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    return everyWay(input) { arrivals in
      var parser = RequestParser(limits: HeadLimits(targetByteCount: max), tolerates: tolerates)
      var head = RequestHead()
      do throws(HTTP1Error) {
        for count in arrivals {
          guard case .complete = try parser.parse(input.span.extracting(0..<count), into: &head)
          else { continue }
          let isTolerated = parser.tolerated.contains(.targetNotASCII)
          let path = String(decoding: head.bytes(of: head.path))
          let query = head.query.map { "?" + String(decoding: head.bytes(of: $0)) } ?? ""
          return (isTolerated ? "escaped " : "") + path + query
        }
        return "incomplete"
      } catch {
        return "\(error)"
      }
    }
  }

  @Test(arguments: [
    ("/stra\u{C3}\u{9F}e", "/stra%C3%9Fe"), ("/?q=caf\u{C3}\u{A9}", "/?q=caf%C3%A9"),
    ("/\u{E4}?\u{FF}", "/%E4?%FF"), ("/a%20\u{80}%", "/a%20%80%"), ("/?\u{A0}", "/?%A0"),
    ("http://a/\u{E4}", "/%E4"), ("http://a?\u{E4}", "/?%E4"),
    ("/\u{1F600}", "/%F0%9F%98%80"),
  ])
  func escapesWhatIsNotASCIIInATarget(text: String, expected: String) {
    #expect(target(text) == "escaped " + expected)
    #expect(target(text, tolerates: false) == "targetNotASCII")
  }

  @Test(arguments: [
    ("http://\u{E4}/", HTTP1Error.badTarget), ("\u{E4}", .badTarget), ("/\u{E4}#", .badTarget),
    ("/\u{E4}\u{7F}", .controlCharacter), ("*\u{E4}", .badTarget),
    ("http://a:\u{E4}/", .badTarget),
  ])
  func refusesATargetThatIsMoreThanNotASCII(text: String, error: HTTP1Error) {
    #expect(target(text) == "\(error)")
  }

  @Test func theLimitOfATargetIsThatOfItsEscapes() {
    #expect(target("/\u{E4}\u{E4}", max: 7) == "escaped /%E4%E4")
    #expect(target("/\u{E4}\u{E4}", max: 6) == "targetTooLong")
    #expect(target("/%E4%E4", max: 7) == "/%E4%E4")
  }

  @Test func toleratedErrorsAreResetForTheNextHead() throws {
    let first = Array("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n".utf8)
    let second = Array("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n".utf8)
    var parser = RequestParser(tolerates: true)
    var head = RequestHead()
    _ = try parser.parse(first.span, into: &head)
    #expect(parser.tolerated.contains(.spaceBeforeColon))
    _ = try parser.parse(second.span, into: &head)
    #expect(parser.tolerated.isEmpty)
  }

  @Test func trailersAreReadStrictlyWhateverTheMode() {
    // There is no tolerant decoder for request bodies.
    #expect(bodyOutcome("0\r\nX : y\r\n\r\n", .chunked) == "spaceBeforeColon")
    #expect(bodyOutcome("0\r\nX: a\r\n b\r\n\r\n", .chunked) == "obsFold")
  }
}
