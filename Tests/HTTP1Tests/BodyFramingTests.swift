// Where messages end, and every known way to make two servers disagree about it.

import HTTP
import HTTP1
import Primitives
import Testing

struct BodyFramingTests {
  /// The framing of a request with these lines.
  private func framing(_ lines: String, version: String = "1.1") throws -> String {
    try withRequest("POST / HTTP/\(version)\r\nHost: a\r\n\(lines)\r\n") { head in
      do throws(HTTP1Error) { return "\(try head.framing())" } catch { return "\(error)" }
    }
  }

  private func framing(
    _ status: Int, _ lines: String, answering method: Method = .get, version: String = "1.1"
  ) throws -> String {
    try withResponse("HTTP/\(version) \(status) X\r\n\(lines)\r\n") { head in
      do throws(HTTP1Error) { return "\(try head.framing(answering: method))" } catch {
        return "\(error)"
      }
    }
  }

  @Test(arguments: [
    ("", "none"),
    ("Content-Length: 0\r\n", "length(0)"),
    ("Content-Length: 42\r\n", "length(42)"),
    ("Content-Length: \t042 \r\n", "length(42)"),
    ("Content-Length: 9223372036854775807\r\n", "length(9223372036854775807)"),
    ("Transfer-Encoding: chunked\r\n", "chunked"),
    ("transfer-encoding:\tChunKed \r\n", "chunked"),
  ])
  func requestsThatAreClearAboutTheirLength(lines: String, expected: String) throws {
    #expect(try framing(lines) == expected)
  }

  @Test(arguments: [
    // CL.TE and TE.CL.
    (
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      HTTP1Error.contentLengthWithTransferEncoding
    ),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", .contentLengthWithTransferEncoding),
    ("Content-Length: 5\r\nTransfer-Encoding: x\r\n", .contentLengthWithTransferEncoding),
    // TE.TE.
    ("Transfer-Encoding: chunked,\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: ,chunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked, chunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked, identity\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked, gzip, chunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: identity\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: xchunked\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunkedx\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked;a=b\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: \"chunked\"\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: chunked x\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: gzip\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding:\r\n", .transferEncodingNotChunked),
    ("Transfer-Encoding: gzip, chunked\r\n", .unknownTransferCoding),
    ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", .unknownTransferCoding),
    ("Transfer-Encoding: identity, chunked\r\n", .unknownTransferCoding),
    // Content-Length.
    ("Content-Length: 5\r\nContent-Length: 6\r\n", .differingContentLengths),
    ("Content-Length: 5, 6\r\n", .differingContentLengths),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", .repeatedContentLength),
    ("Content-Length: 5, 5\r\n", .repeatedContentLength),
    ("Content-Length: 5, 05\r\n", .repeatedContentLength),
    ("Content-Length: 5,\r\n", .badContentLength),
    ("Content-Length: ,5\r\n", .badContentLength),
    ("Content-Length:\r\n", .badContentLength),
    ("Content-Length: +5\r\n", .badContentLength),
    ("Content-Length: -5\r\n", .badContentLength),
    ("Content-Length: 5 5\r\n", .badContentLength),
    ("Content-Length: 0x5\r\n", .badContentLength),
    ("Content-Length: 5.0\r\n", .badContentLength),
    ("Content-Length: 5\r\nContent-Length: x\r\n", .badContentLength),
    ("Content-Length: 9223372036854775808\r\n", .badContentLength),
    ("Content-Length: 18446744073709551621\r\n", .badContentLength),
  ])
  func requestsInDoubtAreRefused(lines: String, error: HTTP1Error) throws {
    #expect(try framing(lines) == "\(error)")
  }

  @Test func http10KnowsNoTransferEncoding() throws {
    let chunked = "Transfer-Encoding: chunked\r\n"
    #expect(try framing(chunked, version: "1.0") == "transferEncodingInHTTP10")
    #expect(try framing(200, chunked, version: "1.0") == "transferEncodingInHTTP10")
    #expect(try framing("Content-Length: 5\r\n", version: "1.0") == "length(5)")
  }

  @Test func removedFieldsDoNotCount() throws {
    let framing = try withRequest(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    ) { head in
      head.fields.removeAll(of: .contentLength)
      return try head.framing()
    }
    #expect(framing == .chunked)
  }

  @Test(arguments: [
    (200, "", Method.get, "untilClose"),
    (200, "Content-Length: 3\r\n", .get, "length(3)"),
    (200, "Content-Length: 3\r\nContent-Length: 3\r\n", .get, "length(3)"),
    (200, "Content-Length: 3, 3\r\n", .get, "length(3)"),
    (200, "Transfer-Encoding: chunked\r\n", .get, "chunked"),
    (404, "", .post, "untilClose"),
    (200, "Content-Length: 3\r\n", .head, "none"),
    (200, "Transfer-Encoding: chunked\r\n", .head, "none"),
    (204, "Content-Length: 3\r\n", .get, "none"),
    (304, "Content-Length: 3\r\n", .get, "none"),
    (100, "", .post, "none"), (101, "", .get, "none"), (103, "Content-Length: 3\r\n", .get, "none"),
    (200, "", .connect, "none"), (403, "Content-Length: 3\r\n", .connect, "length(3)"),
    (
      200, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", .get,
      "contentLengthWithTransferEncoding"
    ),
    (200, "Content-Length: 3\r\nContent-Length: 4\r\n", .get, "differingContentLengths"),
    (200, "Content-Length: x\r\n", .get, "badContentLength"),
    (200, "Transfer-Encoding: gzip\r\n", .get, "transferEncodingNotChunked"),
    (200, "Transfer-Encoding: gzip, chunked\r\n", .get, "unknownTransferCoding"),
  ])
  func responses(status: Int, lines: String, method: Method, expected: String) throws {
    #expect(try framing(status, lines, answering: method) == expected)
  }

  @Test func everyFramingHasALength() {
    #expect(BodyFraming.none.bodyLength == .none)
    #expect(BodyFraming.length(3).bodyLength == .known(3))
    #expect(BodyFraming.chunked.bodyLength == .streamed)
    #expect(BodyFraming.untilClose.bodyLength == .streamed)
  }
}
