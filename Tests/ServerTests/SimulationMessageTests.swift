// The actors' own writer and parser: the parser reads what the writer produces, however it is
// split.

import Primitives
import Testing

struct SimulationMessageTests {
  /// All steps of the parser for `bytes`, in pieces of `piece` bytes.
  private func steps(
    _ kind: MessageParser.Kind, _ bytes: [UInt8], piece: Int, answersHead: Bool = false
  ) -> [String] {
    var parser = MessageParser(kind)
    parser.answersHead = answersHead
    var input = ByteBuffer()
    var steps: [String] = []
    var body = 0
    var offset = 0
    while true {
      let atEnd = offset == bytes.count
      loop: while true {
        switch parser.next(&input, atEnd: atEnd) {
        case .more: break loop
        case .head(let head): steps.append(head.startLine)
        case .body(let count):
          body += count
          input.consume(count)
        case .end(let trailers):
          steps.append("end \(body) \(trailers.map { "\($0.name)=\($0.value)" })")
          body = 0
        case .malformed(let reason):
          steps.append("malformed")
          _ = reason
          return steps
        }
      }
      if atEnd { return steps }
      let next = min(bytes.count, offset + piece)
      input.append(bytes.span.extracting(offset..<next))
      offset = next
    }
  }

  private func everyWay(_ kind: MessageParser.Kind, _ text: String, answersHead: Bool = false)
    -> [String]
  {
    let bytes = Array(text.utf8)
    let whole = steps(kind, bytes, piece: bytes.count, answersHead: answersHead)
    for piece in 1..<min(bytes.count, 40) {
      #expect(steps(kind, bytes, piece: piece, answersHead: answersHead) == whole)
    }
    return whole
  }

  @Test func messagesAreFramedAsTheStandardSays() {
    #expect(
      everyWay(.requests, "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
        == ["GET /a HTTP/1.1", "end 0 []", "GET /b HTTP/1.0", "end 0 []"])
    #expect(
      everyWay(.answers, "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        == ["HTTP/1.1 100 C", "HTTP/1.1 200 OK", "end 3 []"])
    #expect(
      everyWay(
        .answers,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "00a;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
      ) == ["HTTP/1.1 200 OK", "end 10 [\"t=v\"]"])
    #expect(everyWay(.answers, "HTTP/1.1 200 OK\r\n\r\nrest") == ["HTTP/1.1 200 OK", "end 4 []"])
    #expect(
      everyWay(.answers, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", answersHead: true)
        == ["HTTP/1.1 200 OK", "end 0 []"])
  }

  @Test(arguments: [
    "HTTP/1.1 2OO OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
    "HTTP/1.1 204 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nab\r\n",
  ])
  func anythingElseIsRefused(_ text: String) {
    #expect(everyWay(.answers, text).last == "malformed")
  }

  @Test func whatIsWrittenIsReadBack() {
    var random = RandomGenerator(seed: 3)
    for size in [0, 1, 7, 8, 9, 1000, 70_001] {
      for framing in [BodyFraming.length, .chunked] {
        let pattern = BodyPattern(size, 5)
        let coding =
          framing == .chunked ? "Transfer-Encoding: chunked" : "Content-Length: \(size)"
        var writer = MessageWriter(
          head: "POST /x HTTP/1.1\r\n\(coding)\r\n\r\n", pattern: pattern, size: size,
          framing: framing, chunkMax: 300, random: RandomGenerator(seed: 1))
        var parser = MessageParser(.requests)
        var input = ByteBuffer()
        var offset = 0
        var ended = false
        while !writer.isDone {
          writer.produce(into: &input, about: 1 + random.next(below: 900))
          loop: while !ended {
            switch parser.next(&input) {
            case .more: break loop
            case .head: break
            case .body(let count):
              let mismatch = pattern.mismatch(
                in: input.bytes.extracting(first: count), at: offset)
              #expect(mismatch == nil)
              offset += count
              input.consume(count)
            case .end: ended = true
            case .malformed(let reason): Issue.record("\(reason)"); ended = true
            }
          }
        }
        #expect(ended && offset == size && input.count == 0)
      }
    }
  }

  @Test func aPatternSeesEveryMistake() {
    var buffer = ByteBuffer()
    let pattern = BodyPattern(1)
    pattern.append(3..<103, to: &buffer)
    let bytes = (0..<buffer.count).map { buffer.bytes[$0] }
    #expect(pattern.mismatch(in: bytes.span, at: 3) == nil)
    #expect(pattern.mismatch(in: bytes.span, at: 4) != nil)
    #expect(BodyPattern(2).mismatch(in: bytes.span, at: 3) != nil)
    for index in bytes.indices {
      var wrong = bytes
      wrong[index] ^= 0x40
      #expect(pattern.mismatch(in: wrong.span, at: 3) == index + 3)
    }
  }
}
