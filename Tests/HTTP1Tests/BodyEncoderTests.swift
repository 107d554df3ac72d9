// The decoder removes exactly what the encoder adds.

import HTTP
import HTTP1
import Primitives
import Testing

struct BodyEncoderTests {
  private func encoded(
    _ pieces: [String], _ framing: BodyFraming, trailers: [(String, String)] = []
  ) -> String {
    let encoder = BodyEncoder(framing)
    var output = ByteBuffer()
    for piece in pieces {
      let before = output.count
      encoder.beginPiece(count: piece.utf8.count, into: &output)
      output.append(string: piece)
      encoder.endPiece(count: piece.utf8.count, into: &output)
      let cost = output.count - before - piece.utf8.count
      #expect(cost <= BodyEncoder.overheadByteCount)
    }
    if trailers.isEmpty {
      encoder.end(into: &output)
    } else {
      var block = FieldBlock()
      for (name, value) in trailers {
        block.append(name: Array(name.utf8).span, value: Array(value.utf8).span)
      }
      encoder.end(trailers: block, into: &output)
    }
    return String(decoding: output)
  }

  @Test func chunksComeBackAsTheyWere() {
    let long = String(repeating: "x", count: 300)
    let text = encoded(["hello", "", " ", long], .chunked)
    #expect(text == "5\r\nhello\r\n1\r\n \r\n12c\r\n\(long)\r\n0\r\n\r\n")
    #expect(bodyOutcome(text, .chunked) == "hello \(long) end, 0 left")
  }

  @Test func otherFramingsAddNothing() {
    for framing in [BodyFraming.none, .length(6), .untilClose] {
      #expect(encoded(["abc", "def"], framing, trailers: [("A", "b")]) == "abcdef")
      #expect(encoded(["abc", "def"], framing) == "abcdef")
    }
  }

  @Test func trailersComeBackWithoutThoseThatMustNotBeThere() {
    let text = encoded(
      ["x"], .chunked,
      trailers: [
        ("A", "b"), ("Content-Length", "5"), ("Transfer-Encoding", "chunked"),
        ("Host", "h"), ("Set-Cookie", "s"), ("Server-Timing", "t"),
      ])
    #expect(text == "1\r\nx\r\n0\r\nA: b\r\nServer-Timing: t\r\n\r\n")
    #expect(bodyOutcome(text, .chunked) == "x + A=b + Server-Timing=t end, 0 left")
  }
}
