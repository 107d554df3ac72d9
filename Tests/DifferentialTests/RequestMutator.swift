// Nearly valid requests from a seed: built from parts, with one or two of the errors that parsers
// are known to treat differently.
//
// Random bytes would fail in the first line of every parser and test nothing.

import Primitives

struct RequestMutator {
  private var random: RandomGenerator

  init(seed: UInt64) { random = RandomGenerator(seed: seed) }

  private static let starts = [
    "GET / HTTP/1.1", "POST /a?b=c HTTP/1.1", "PUT http://b.example:81/x HTTP/1.1",
    "DELETE /d HTTP/1.1", "OPTIONS * HTTP/1.1", "PATCH /p HTTP/1.0", "HEAD /h HTTP/1.1",
  ]

  private static let lines = [
    "X: y", "X:", "X:y", "X: \t y \t", "Cookie: a=b; c=d", "Accept: */*", "Connection: keep-alive",
    "Connection: close", "Connection: close, X", "Expect: 100-continue", "TE: trailers",
    "Transfer_Encoding: chunked", "Content_Length: 5", "X-Forwarded-For: 1.2.3.4", "Via: 1.0 x",
    "Trailer: Content-Length", "Proxy: x", "Keep-Alive: timeout=5",
  ]

  private static let faultyLines = [
    "X : y", "X\t: y", "Content-Length : 5", "Transfer-Encoding : chunked", "X: y\r\n z",
    "X: y\r\n\tContent-Length: 9", "Transfer-Encoding:\r\n chunked", " X: y", ": y", "X", "X y: z",
    "X(y): z", "X[0]: z", "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5",
    "Content-Length: 5\r\nContent-Length: 6", "Content-Length: +5", "Content-Length: 5 ",
    "Content-Length: 05", "Content-Length: 5;x", "Content-Length: 0x5", "Content-Length: 5_0",
    "Content-Length: ", "Content-Length: 99999999999999999999", "Content-Length:\u{B}5",
    "Transfer-Encoding: Chunked", "Transfer-Encoding: chunked ", "Transfer-Encoding: x, chunked",
    "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked, x",
    "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: identity", "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked;a=b",
    "Host: b", "Host: a b", "Host:", "Host: a,b", "Host: u@a", "Host: a/x", "X: a\u{0}b",
    "X: a\u{7F}b", "X: a\rb", "X: a\nb", "X: a\nTransfer-Encoding: chunked", "X: \u{E4}",
    "\u{E4}: x", "Connection: Content-Length", "Connection: Transfer-Encoding", "HTTP2-Settings: x",
  ]

  private static let chunkedBodies = [
    "5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "2\r\nhe\r\n3\r\nllo\r\n00\r\nX: y\r\n\r\n", "A\r\n0123456789\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
  ]

  private static let faultyChunks = [
    "5 \r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n", "5;a\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n", "5\r\nhelloxx0\r\n\r\n", "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\n", "5\r\nhello\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5_0\r\nhello\r\n",
    "00000000000000000005\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n",
    "5;\r\nhello\r\n0\r\n\r\n", "5\t;x\r\nhello\r\n0\r\n\r\n", "5;\u{0}\r\nhello\r\n0\r\n\r\n",
  ]

  /// One or two requests.
  mutating func next() -> [UInt8] {
    var bytes = request()
    if random.chance(1, in: 3) { bytes += request() }
    if random.chance(1, in: 3) { damage(&bytes) }
    return bytes
  }

  private mutating func request() -> [UInt8] {
    var lines = random.chance(1, in: 20) ? [] : ["Host: a"]
    for _ in 0..<random.next(below: 3) { lines.append(pick(Self.lines)) }
    var body = ""
    switch random.next(below: 4) {
    case 0:
      lines.append("Content-Length: 5")
      body = "hello"
    case 1, 2:
      lines.append("Transfer-Encoding: chunked")
      body = pick(random.chance(1, in: 3) ? Self.faultyChunks : Self.chunkedBodies)
    default: break
    }
    if random.chance(2, in: 3) {
      lines.insert(pick(Self.faultyLines), at: random.next(below: lines.count + 1))
    }
    let head = ([pick(Self.starts)] + lines).map { $0 + "\r\n" }.joined() + "\r\n"
    // One scalar is one byte here, so that bytes above 0x7F can be written.
    return (head + body).unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
  }

  /// Changes a byte or two, mostly near characters that matter to parsers.
  private mutating func damage(_ bytes: inout [UInt8]) {
    let replacements: [UInt8] = [0x0A, 0x0D, 0x20, 0x09, 0x3A, 0x00, 0x2C, 0x3B, 0x30, 0x35, 0x80]
    for _ in 0...random.next(below: 2) where !bytes.isEmpty {
      let position = random.next(below: bytes.count)
      let byte = replacements[random.next(below: replacements.count)]
      switch random.next(below: 3) {
      case 0: bytes[position] = byte
      case 1: bytes.remove(at: position)
      default: bytes.insert(byte, at: position)
      }
    }
  }

  private mutating func pick(_ words: [String]) -> String { words[random.next(below: words.count)] }
}
