// Random damaged input from a seed: nothing traps, and the outcome doesn't depend on splits.
//
// The inputs are damaged valid messages and random sequences of the grammar's words, since random
// bytes would already fail at the first one.

import HTTP
import HTTP1
import Primitives
import Testing

struct GarbageTests {
  private static let words = [
    "GET", "OPTIONS", "CONNECT", " ", " ", "/", "*", "http://", "a", "?", "#", " HTTP/1.1", "\r\n",
    "\r\n", "\r\n", "\r\n\r\n", "HTTP/1.1 200 OK", "HTTP/1.0 ", "204", "Host", ": ", ":", ": a",
    "\t", "Content-Length: ", "5", "0", ",", "Transfer-Encoding: ", "chunked", "\n", "\r", "\0",
    "[::1]", ":80", "Expect: 100-continue", "Connection: close", ";", "fF", "\u{E4}",
  ]

  private static let messages = [
    "GET /a?b HTTP/1.1\r\nHost: a:80\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "POST http://[::1]:80/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close, x\r\nA : b\r\n\r\nabc",
    "5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n",
  ]

  private static func garbage(_ random: inout RandomGenerator) -> [UInt8] {
    var input: [UInt8] = []
    switch random.next(below: 4) {
    case 0:
      for _ in 0..<random.next(below: 80) {
        input.append(UInt8(truncatingIfNeeded: random.next()))
      }
    case 1:
      for _ in 0..<random.next(below: 30) {
        input += Array(words[random.next(below: words.count)].utf8)
      }
    default:
      input = Array(messages[random.next(below: messages.count)].utf8)
      for _ in 0...random.next(below: 4) where !input.isEmpty {
        let position = random.next(below: input.count)
        switch random.next(below: 4) {
        case 0: input[position] = UInt8(truncatingIfNeeded: random.next())
        case 1: input.remove(at: position)
        case 2:
          let word = words[random.next(below: words.count)]
          input.insert(contentsOf: Array(word.utf8), at: position)
        default: input.append(contentsOf: input[position...])
        }
      }
    }
    return input
  }

  /// Uses every function of a head, so that all of them run on damaged input.
  private static func describe(_ head: borrowing RequestHead) -> String {
    let framing: String
    do throws(HTTP1Error) { framing = "\(try head.framing())" } catch { framing = "\(error)" }
    var output = ByteBuffer()
    head.encode(body: .streamed, connection: .close, into: &output)
    return "\(framing) \(head.persists) \(head.expect) \(String(decoding: output))"
  }

  private static func describe(_ head: borrowing ResponseHead) -> String {
    let framing: String
    do throws(HTTP1Error) { framing = "\(try head.framing(answering: .get))" } catch {
      framing = "\(error)"
    }
    var output = ByteBuffer()
    head.encode(for: .http10, body: .none, connection: .keepAlive, into: &output)
    return "\(framing) \(head.persists(framing: .none)) \(String(decoding: output))"
  }

  @Test func neverTrapsAndNeverDependsOnTheCuts() {
    var random = RandomGenerator(seed: 0x6D61_7274_6C65_74)
    var completeCount = 0
    for _ in 0..<4000 {
      let input = Self.garbage(&random)
      let limits = HeadLimits(
        headByteCount: 20 + random.next(below: 700), targetByteCount: random.next(below: 80),
        fieldCount: random.next(below: 10))
      let cuts = [random.next(below: input.count + 1), random.next(below: input.count + 1)].sorted()
      let ways = [[input.count], cuts + [input.count], Array(0...input.count)]
      let requests = ways.map { requestOutcome(input, $0, limits, Self.describe) }
      let responses = ways.map { responseOutcome(input, $0, limits, Self.describe) }
      let chunks = ways.map { bodyOutcome(input, $0, .chunked, closes: true) }
      for outcomes in [requests, responses, chunks] {
        let text = String(decoding: input, as: UTF8.self)
        #expect(Set(outcomes).count == 1, "\(text.debugDescription)")
        if outcomes[0].contains("HTTP/1.1") || outcomes[0].contains("end, ") { completeCount += 1 }
      }
    }
    // Check the quality of the inputs: many are parsed completely.
    #expect(completeCount > 300)
  }

  @Test func whatGoesOutParsesToTheSame() throws {
    var random = RandomGenerator(seed: 7)
    for _ in 0..<1000 {
      let input = Self.garbage(&random)
      var parser = RequestParser()
      var head = RequestHead()
      guard let progress = try? parser.parse(input.span, into: &head),
        case .complete = progress
      else { continue }
      var output = ByteBuffer()
      head.encode(body: .none, connection: .keepAlive, into: &output)
      let once = String(decoding: output)
      // Only a missing host, which HTTP/1.0 allows, prevents parsing the head again.
      if head.authority.isEmpty { continue }
      var second = RequestHead()
      let again = try parser.parse(output.bytes, into: &second)
      #expect(again == .complete(byteCount: output.count))
      output.removeAll()
      second.encode(body: .none, connection: .keepAlive, into: &output)
      let twice = String(decoding: output)
      #expect(once == twice)
    }
  }
}
