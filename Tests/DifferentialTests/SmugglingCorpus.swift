// Known classes of request smuggling: the bytes of each attack, and Martlet's reaction.
//
// docs/SECURITY.md has the same list. After every attack there is `/smuggled` or another request,
// so that a parser that finds another boundary is detected.

import Testing

/// Martlet's reaction to the bytes.
enum Verdict: Equatable, Sendable {
  /// Refused with this name; nothing is forwarded.
  case refused(String)
  /// Read as this number of requests, in the same way by all parsers.
  case read(Int)
}

struct Attack: Sendable, CustomTestStringConvertible {
  let name: String
  let bytes: String
  let verdict: Verdict

  init(_ name: String, _ bytes: String, _ verdict: Verdict) {
    self.name = name
    self.bytes = bytes
    self.verdict = verdict
  }

  /// A POST with these field lines and this body.
  init(_ name: String, _ lines: String, body: String, _ verdict: Verdict) {
    self.init(name, "POST / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n\(body)", verdict)
  }

  var testDescription: String { name }

  private static let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
  private static let chunks = "0\r\n\r\n\(smuggled)"

  /// The name of an error, bytes that contain it, and the reason of the refusal.
  private typealias Row = (name: String, text: String, reason: String)

  static let all: [Attack] = [
    framing, obfuscations, lines, chunked, chunkedAndFine, targets, sequences,
  ].flatMap { $0 }

  /// Contradicting statements about a length.
  private static let framing: [Attack] = [
    Attack(
      "CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", body: chunks,
      .refused("content-length-with-transfer-encoding")),
    Attack(
      "TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
      body: "2e\r\n\(smuggled)\r\n0\r\n\r\n", .refused("content-length-with-transfer-encoding")),
    Attack(
      "CL.CL", "Content-Length: 0\r\nContent-Length: 44\r\n", body: smuggled,
      .refused("differing-content-lengths")),
    Attack(
      "CL.CL in a list", "Content-Length: 0, 44\r\n", body: smuggled,
      .refused("differing-content-lengths")),
    Attack(
      "length with a sign", "Content-Length: +0\r\n", body: smuggled, .refused("bad-content-length")
    ),
    Attack(
      "negative length", "Content-Length: -1\r\n", body: smuggled, .refused("bad-content-length")),
    Attack(
      "hexadecimal length", "Content-Length: 0x2c\r\n", body: smuggled,
      .refused("bad-content-length")),
    Attack(
      "length with a fraction", "Content-Length: 0.0\r\n", body: smuggled,
      .refused("bad-content-length")),
    Attack(
      "length that overflows", "Content-Length: 18446744073709551616\r\n", body: smuggled,
      .refused("bad-content-length")),
    Attack("empty length", "Content-Length:\r\n", body: smuggled, .refused("bad-content-length")),
    Attack(
      "length of two words", "Content-Length: 4 4\r\n", body: smuggled,
      .refused("bad-content-length")),
    Attack(
      "HTTP/1.0 with a coding",
      "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)",
      .refused("transfer-encoding-in-http10")),
    Attack(
      "0.CL",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \(smuggled.utf8.count)\r\n\r\n\(smuggled)",
      .read(1)),
    Attack("CL.0", "Content-Length: 0\r\n", body: smuggled, .read(2)),
  ]

  /// Spellings of Transfer-Encoding that one server accepts and another doesn't.
  private static let codings: [Row] = [
    ("xchunked", "Transfer-Encoding: xchunked", "transfer-encoding-not-chunked"),
    ("space before the colon", "Transfer-Encoding : chunked", "space-before-colon"),
    ("tab before the colon", "Transfer-Encoding\t: chunked", "space-before-colon"),
    ("vertical tab", "Transfer-Encoding: \u{B}chunked", "control-character"),
    ("quotes", "Transfer-Encoding: \"chunked\"", "transfer-encoding-not-chunked"),
    ("identity behind", "Transfer-Encoding: chunked, identity", "transfer-encoding-not-chunked"),
    ("identity before", "Transfer-Encoding: identity, chunked", "unknown-transfer-coding"),
    ("a comma behind", "Transfer-Encoding: chunked,", "transfer-encoding-not-chunked"),
    ("a comma before", "Transfer-Encoding: ,chunked", "transfer-encoding-not-chunked"),
    ("a parameter", "Transfer-Encoding: chunked;x=y", "transfer-encoding-not-chunked"),
    (
      "two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
      "transfer-encoding-not-chunked"
    ),
    ("an empty one", "Transfer-Encoding:", "transfer-encoding-not-chunked"),
    ("a folded one", "Transfer-Encoding:\r\n chunked", "obs-fold"),
    ("a folded neighbour", "X: y\r\n Transfer-Encoding: chunked", "obs-fold"),
    ("a carriage return before", "X: y\rTransfer-Encoding: chunked", "bare-carriage-return"),
    ("a line feed before", "X: y\nTransfer-Encoding: chunked", "bare-line-feed"),
    ("NUL in the name", "Transfer\u{0}-Encoding: chunked", "control-character"),
    ("no colon", "Transfer-Encoding chunked", "bad-field-name"),
    ("quotes around the name", "\"Transfer-Encoding\": chunked", "bad-field-name"),
    ("a no-break space", "Transfer-Encoding\u{A0}: chunked", "bad-field-name"),
  ]

  private static let obfuscations: [Attack] = codings.map { row in
    Attack("TE.TE, \(row.name)", "\(row.text)\r\n", body: chunks, .refused(row.reason))
  }

  /// Line ends, folds, blanks and names.
  private static let lines: [Attack] = [
    // Servers don't confuse these names, except behind CGI; it is forwarded unchanged.
    Attack("TE.TE, underscore", "Transfer_Encoding: chunked\r\n", body: "", .read(1)),
    Attack("bare LF", "X: y\nContent-Length: 44\r\n", body: smuggled, .refused("bare-line-feed")),
    Attack("bare LF at the end", "X: y\r\n\n", body: smuggled, .refused("bare-line-feed")),
    Attack("bare CR", "X: y\rZ: w\r\n", body: smuggled, .refused("bare-carriage-return")),
    Attack("CR CR LF", "X: y\r\r\n", body: smuggled, .refused("bare-carriage-return")),
    Attack("NUL", "X: y\u{0}z\r\n", body: smuggled, .refused("control-character")),
    Attack("obs-fold", "X: y\r\n z\r\n", body: smuggled, .refused("obs-fold")),
    Attack(
      "obs-fold of a length", "Content-Length: 4\r\n 4\r\n", body: smuggled,
      .refused("obs-fold")),
    Attack("a line of blanks", "X: y\r\n \r\n", body: smuggled, .refused("obs-fold")),
    Attack(
      "space before a colon", "Content-Length : 44\r\n", body: smuggled,
      .refused("space-before-colon")),
    Attack(
      "a name with blanks", "X Content-Length: 44\r\n", body: smuggled,
      .refused("bad-field-name")),
    Attack("an empty name", ": y\r\n", body: smuggled, .refused("bad-field-name")),
    Attack(
      "a name that looks like a pseudo-field", ":path: /\r\n", body: smuggled,
      .refused("bad-field-name")),
    Attack(
      "a first line that is folded",
      "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n\(smuggled)", .refused("obs-fold")),
  ]

  /// Within a chunked body.
  private static let chunkFaults: [Row] = [
    ("chunk extension with LF", "0;x\n\r\n\r\n", "bare-line-feed"),
    ("chunk extension with CR", "0;x\ry\r\n\r\n", "bare-carriage-return"),
    ("chunk size with LF", "0\n\r\n", "bare-line-feed"),
    ("chunk size with a space", "0 \r\n\r\n", "bad-chunk-size"),
    ("chunk size with 0x", "0x0\r\n\r\n", "bad-chunk-size"),
    ("chunk size with a sign", "+0\r\n\r\n", "bad-chunk-size"),
    ("negative chunk size", "-1\r\n\r\n", "bad-chunk-size"),
    ("chunk size that overflows", "10000000000000000\r\n\r\n", "bad-chunk-size"),
    ("no chunk size", "\r\n\r\n", "bad-chunk-size"),
    ("a chunk that is longer than its size", "1\r\nxy\r\n0\r\n\r\n", "bad-chunk-end"),
    ("a chunk that ends in LF", "1\r\nx\n0\r\n\r\n", "bad-chunk-end"),
    ("a trailer with LF", "0\r\nX: y\n\r\n", "bare-line-feed"),
    ("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n", "obs-fold"),
  ]

  private static let chunked: [Attack] =
    chunkFaults.map { row in
      Attack(
        row.name, "Transfer-Encoding: chunked\r\n", body: row.text + smuggled,
        .refused(row.reason))
    }

  private static let chunkedAndFine: [Attack] = [
    Attack(
      "trailers that frame", "Transfer-Encoding: chunked\r\n",
      body: "0\r\nContent-Length: 44\r\nHost: b\r\n\r\n\(smuggled)", .read(2)),
    Attack(
      "a chunk extension", "Transfer-Encoding: chunked\r\n",
      body: "1;a=\"\\\"b\"\r\nx\r\n0;c\r\n\r\n\(smuggled)", .read(2)),
  ]

  /// The site and the target of the request.
  private static let targets: [Attack] = [
    Attack("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", .refused("duplicate-host")),
    Attack("a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .refused("bad-host")),
    Attack("no host", "GET / HTTP/1.1\r\n\r\n", .refused("missing-host")),
    Attack("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .refused("bad-host")),
    Attack(
      "user information", "GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .refused("bad-target")),
    Attack(
      "absolute form against Host",
      "GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n\(smuggled)", .read(2)),
    Attack(
      "a space in the target", "GET / /x HTTP/1.1\r\nHost: a\r\n\r\n",
      .refused("bad-request-line")),
    Attack("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .refused("bad-target")),
    Attack(
      "a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .refused("bad-method")),
    Attack("a fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", .refused("bad-target")),
    Attack("HTTP/0.9", "GET /\r\n\r\n\(smuggled)", .refused("bad-request-line")),
    Attack("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .refused("bad-version")),
  ]

  /// Sequences of requests.
  private static let sequences: [Attack] = [
    Attack("pipelining", smuggled + smuggled, .read(2)),
    Attack(
      "pipelining behind a close",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\(smuggled)", .read(1)),
    Attack(
      "pipelining behind an error", "GET / HTTP/1.1\r\n\r\n\(smuggled)",
      .refused("missing-host")),
    Attack("an empty line between", "\r\n" + smuggled + "\r\n" + smuggled, .read(2)),
  ]
}
