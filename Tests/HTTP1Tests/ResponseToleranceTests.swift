// What a tolerant pool accepts in responses, how it repairs it, and what it still refuses.
//
// Each case goes through a strict and a tolerant parser: whole, split at each position, and byte by
// byte. What the tolerant parser accepts is encoded so that a strict parser accepts it with the
// same framing.

import HTTP
import HTTP1
import Primitives
import Testing

struct ResponseToleranceTests {
  private func outcome(_ text: String, _ rules: ResponseRules, to method: Method = .get) -> String {
    let input = Array(text.utf8)
    return everyWay(input) { arrivals in
      var parser = ResponseParser(rules: rules)
      var head = ResponseHead()
      do throws(HTTP1Error) {
        for count in arrivals {
          guard
            case .complete(let end) = try parser.parse(
              input.span.extracting(0..<count), into: &head)
          else { continue }
          let framing = try head.framing(answering: method)
          let reasons = HTTP1Error.tolerableInResponses.filter { parser.tolerated.contains($0) }
          let names = reasons.map { "\($0)" }.joined(separator: " ")
          let rest = input.count - end
          return
            "\(names)\(describeFields(head.fields)) \(framing)\(rest > 0 ? " \(rest) left" : "")"
        }
        return "incomplete"
      } catch {
        return "\(error)"
      }
    }
  }

  static let repaired: [(String, HTTP1Error, String)] = [
    // A fold becomes spaces.
    (
      "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n", .obsFold,
      "obsFold + X=a   b + Content-Length=2 length(2)"
    ),
    // A line without a colon is dropped, and so is a field with an invalid name.
    (
      "HTTP/1.1 200 OK\r\nhello there\r\nContent-Length: 2\r\n\r\n", .missingColon,
      "missingColon + Content-Length=2 length(2)"
    ),
    (
      "HTTP/1.1 200 OK\r\nX(y): z\r\nContent-Length: 2\r\n\r\n", .badFieldName,
      "badFieldName + Content-Length=2 length(2)"
    ),
    // A head whose lines all end in LF.
    ("HTTP/1.0 200 OK\nA: b\nC: d\n\n", .bareLineFeed, "bareLineFeed + A=b + C=d untilClose"),
    ("HTTP/1.1 204\n\n", .bareLineFeed, "bareLineFeed none"),
    (
      "HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nhi", .bareLineFeed,
      "bareLineFeed + A=b + Content-Length=2 length(2) 2 left"
    ),
    // The same chunked coding, stated several times.
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, Chunked\r\n\r\n", .repeatedChunked,
      "repeatedChunked + Transfer-Encoding=chunked chunked"
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n",
      .repeatedChunked, "repeatedChunked + A=b + Transfer-Encoding=chunked chunked"
    ),
    // No coding and no length: for every reader the body ends with the connection.
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", .identityCoding,
      "identityCoding untilClose"
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity, identity\r\n\r\n", .identityCoding,
      "identityCoding untilClose"
    ),
    // Several errors: the strict parser reports the first.
    (
      "HTTP/1.1 200 OK\r\nstray\r\nX: a\r\n b\r\nTransfer-Encoding: identity\r\n\r\n",
      .missingColon, "obsFold missingColon identityCoding + X=a   b untilClose"
    ),
  ]

  @Test(arguments: repaired)
  func repairs(text: String, error: HTTP1Error, expected: String) {
    #expect(outcome(text, .strict) == "\(error)")
    #expect(outcome(text, .tolerant) == expected)
  }

  @Test(arguments: [
    // Both kinds of line end: LF may be part of a value, and then the head ends elsewhere.
    ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", HTTP1Error.bareLineFeed),
    ("HTTP/1.1 200 OK\r\nA: b\n\nC: d\r\n\r\n", .bareLineFeed),
    ("HTTP/1.1 200 OK\nA: b\r\n\n", .bareLineFeed),
    ("HTTP/1.1 200 OK\nA: b\n\r\n", .bareLineFeed),
    ("\nHTTP/1.1 200 OK\n\n", .badStatusLine), ("\r\nHTTP/1.1 200 OK\r\n\r\n", .badStatusLine),
    ("HTTP/1.1 200 OK\nA: b\n  c\n : d\n\n", .obsFold),
    // Codings for which another reader may find another end, with or without a length.
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n",
      .contentLengthWithTransferEncoding
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\nContent-Length: 2\r\n\r\n",
      .contentLengthWithTransferEncoding
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
      .transferEncodingNotChunked
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n", .unknownTransferCoding),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n", .transferEncodingNotChunked),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,,chunked\r\n\r\n", .transferEncodingNotChunked),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .transferEncodingNotChunked),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", .transferEncodingInHTTP10),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", .transferEncodingInHTTP10),
    ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .differingContentLengths),
    // Folded lines and stray lines that affect framing or have another reading.
    ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\nA: b\r\n \r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\nstray\r\n fold\r\n\r\n", .obsFold),
    ("HTTP/1.1 200 OK\r\nContent-Length 2\r\n\r\n", .missingColon),
    ("HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n", .missingColon),
    ("HTTP/1.1 200 OK\r\nthe transfer encoding is chunked\r\n\r\n", .missingColon),
    ("HTTP/1.1 200 OK\r\n\"Content-Length\": 2\r\n\r\n", .badFieldName),
    // The head before it did not end: it may be an interim one.
    ("HTTP/1.1 100 Continue\r\nHTTP/1.1 200 OK\r\n\r\n", .missingColon),
    ("HTTP/1.1 200 OK\r\nA: b\r\nhttp/1.1 302 Found\r\n\r\n", .missingColon),
    // Octets.
    ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", .bareCarriageReturn),
    ("HTTP/1.1 200 OK\nA: b\rc\n\n", .bareCarriageReturn),
    ("HTTP/1.1 200 OK\r\nA: b\u{0}\r\n\r\n", .controlCharacter),
  ])
  func refusesWhatCouldMoveABoundary(text: String, error: HTTP1Error) {
    #expect(outcome(text, .tolerant) == "\(error)")
  }

  @Test func aStrayLineIsShort() {
    let head = { (count: Int) in
      "HTTP/1.1 200 OK\r\n\(String(repeating: "-", count: count))\r\n\r\n"
    }
    #expect(outcome(head(256), .tolerant) == "missingColon untilClose")
    #expect(outcome(head(257), .tolerant) == "missingColon")
  }

  @Test(
    arguments: [Method.head, .get, .connect], ["204 No Content", "304 Not Modified", "200 OK"])
  func aResponseWithoutABodyHasNoneAfterARepair(method: Method, status: String) {
    let text = "HTTP/1.1 \(status)\r\nTransfer-Encoding: identity\r\n\r\n"
    let isBodiless = method != .get || !status.hasPrefix("200")
    #expect(
      outcome(text, .tolerant, to: method)
        == "identityCoding \(isBodiless ? "none" : "untilClose")")
  }

  @Test func whatIsRepairedGoesOutAsSomethingThatAStrictReaderTakes() throws {
    for (text, _, _) in Self.repaired {
      let input = Array(text.utf8)
      var parser = ResponseParser(rules: .tolerant)
      var head = ResponseHead()
      _ = try parser.parse(input.span, into: &head)
      let framing = try head.framing(answering: .get)
      var output = ByteBuffer()
      let written = head.encode(
        for: .http11, body: framing.bodyLength, connection: .close, into: &output)
      let again = try withResponse(String(decoding: output)) { try $0.framing(answering: .get) }
      #expect(again == written, "\(text)")
    }
  }

  // MARK: Chunks

  private func body(_ text: String, _ rules: ResponseRules?) -> String {
    let input = Array(text.utf8)
    return everyWay(input) { arrivals in
      var decoder = BodyDecoder(.chunked, ofResponse: rules)
      var trailers = FieldBlock()
      var payload: [UInt8] = []
      var done = 0
      do throws(HTTP1Error) {
        for count in arrivals {
          stepping: while true {
            switch try decoder.next(input.span.extracting(done..<count), trailers: &trailers) {
            case .piece(let skip, let length):
              payload += input[(done + skip)..<(done + skip + length)]
              done += skip + length
            case .needsInput(let consumed):
              done += consumed
              break stepping
            case .end(let consumed):
              let isForgiven = decoder.tolerated.contains(.blankAfterChunkSize)
              return "\(String(decoding: payload, as: UTF8.self)) \(isForgiven) "
                + "\(input.count - done - consumed)"
            }
          }
        }
        return "open"
      } catch {
        return "\(error)"
      }
    }
  }

  @Test(arguments: [
    "2 \r\nab\r\n0\r\n\r\nrest", "2 \t  \r\nab\r\n0     \r\n\r\nrest",
    "2 ;a=b\r\nab\r\n0\r\n\r\nrest",
  ])
  func blanksAfterASizeAreRepairedInResponsesAlone(text: String) {
    #expect(body(text, nil) == "badChunkSize")
    #expect(body(text, .strict) == "blankAfterChunkSize")
    #expect(body(text, .tolerant) == "ab true 4")
  }

  @Test(arguments: [
    (" 2\r\nab\r\n0\r\n\r\n", HTTP1Error.badChunkSize), ("2 2\r\nab\r\n0\r\n\r\n", .badChunkSize),
    ("2 x\r\nab\r\n0\r\n\r\n", .badChunkSize), ("2 \nab\r\n0\r\n\r\n", .bareLineFeed),
    ("2\nab\n0\n\n", .bareLineFeed), ("2\r\nab \r\n0\r\n\r\n", .badChunkEnd),
    ("2                 \r\nab\r\n0\r\n\r\n", .badChunkSize),
    ("2 \rab\r\n0\r\n\r\n", .bareCarriageReturn),
    ("2\r\nab\r\n0\r\nA : b\r\n\r\n", .spaceBeforeColon),
    ("2\r\nab\r\n0\r\nstray\r\n\r\n", .badFieldName),
  ])
  func refusesChunksThatReadInTwoWays(text: String, error: HTTP1Error) {
    #expect(body(text, .tolerant) == "\(error)")
  }

  @Test func aValidResponseHasNoToleratedErrors() {
    #expect(outcome("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", .tolerant) == " + A=b untilClose")
    #expect(body("2\r\nab\r\n0\r\n\r\n", .tolerant) == "ab false 0")
  }
}
