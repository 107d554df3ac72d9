// Bodies with every framing, split at every position.

import HTTP
import HTTP1
import Primitives
import Testing

struct BodyDecoderTests {
  @Test(arguments: [
    ("0\r\n\r\n", " end, 0 left"),
    ("5\r\nhello\r\n0\r\n\r\n", "hello end, 0 left"),
    ("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\nGET", "hello world end, 3 left"),
    ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789 end, 0 left"),
    ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789 end, 0 left"),
    ("0000000000000001\r\nx\r\n0\r\n\r\n", "x end, 0 left"),
    ("1;a=b;c=\"d\te\"\r\nx\r\n0;z\r\n\r\n", "x end, 0 left"),
    ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n end, 0 left"),
    ("1\r\nx\r\n0\r\nA: b\r\nC:d \r\n\r\nrest", "x + A=b + C=d end, 4 left"),
  ])
  func chunks(text: String, expected: String) {
    #expect(bodyOutcome(text, .chunked) == expected)
  }

  @Test(arguments: [
    ("\r\n", HTTP1Error.badChunkSize), (";a\r\n", .badChunkSize), ("x\r\n", .badChunkSize),
    ("+1\r\n", .badChunkSize), ("-1\r\n", .badChunkSize), ("0x1\r\n", .badChunkSize),
    (" 1\r\n", .badChunkSize), ("1 \r\n", .badChunkSize), ("1 ;a\r\n", .badChunkSize),
    ("1\t\r\n", .badChunkSize), ("1_0\r\n", .badChunkSize),
    ("8000000000000000\r\n", .badChunkSize), ("FFFFFFFFFFFFFFFF\r\n", .badChunkSize),
    ("10000000000000001\r\n", .badChunkSize), ("00000000000000001\r\n", .badChunkSize),
    ("1\nx\r\n0\r\n\r\n", .bareLineFeed), ("\n", .bareLineFeed),
    ("1;a\nx\r\n0\r\n\r\n", .bareLineFeed), ("1;a=\"\n\"\r\nx\r\n0\r\n\r\n", .bareLineFeed),
    ("1\rx", .bareCarriageReturn), ("1;a\rb\r\nx\r\n0\r\n\r\n", .bareCarriageReturn),
    ("1;\u{0}\r\n", .controlCharacter), ("1;\u{7F}\r\n", .controlCharacter),
    ("1\r\nxy\r\n0\r\n\r\n", .badChunkEnd), ("1\r\nx\n0\r\n\r\n", .badChunkEnd),
    ("1\r\nx\r0\r\n\r\n", .badChunkEnd), ("1\r\nx0\r\n\r\n", .badChunkEnd),
    ("0\r\n\n", .bareLineFeed), ("0\r\nA: b\n\r\n", .bareLineFeed),
    ("0\r\nA : b\r\n\r\n", .spaceBeforeColon), ("0\r\n b\r\n\r\n", .obsFold),
    ("0\r\nA: b\u{0}\r\n\r\n", .controlCharacter), ("0\r\nGET / HTTP/1.1\r\n\r\n", .badFieldName),
  ])
  func chunksThatAreRefused(text: String, error: HTTP1Error) {
    #expect(bodyOutcome(text, .chunked) == "\(error)")
  }

  @Test func theLargestChunkSizeIsBelowTwoToThe63() {
    #expect(bodyOutcome("7FFFFFFFFFFFFFFF\r\nx", .chunked) == "x open")
  }

  @Test func aChunkExtensionHasALimit() {
    let extensions = String(repeating: "e", count: 1024)
    #expect(bodyOutcome("0;\(extensions)\r\n\r\n", .chunked) == " end, 0 left")
    #expect(bodyOutcome("0;\(extensions)e", .chunked) == "chunkExtensionTooLong")
  }

  private func outcome(_ text: String, _ limits: BodyLimits) -> String {
    var decoder = BodyDecoder(.chunked, limits: limits)
    var trailers = FieldBlock()
    var rest = Array(text.utf8)
    do throws(HTTP1Error) {
      while true {
        switch try decoder.next(rest.span, trailers: &trailers) {
        case .piece(let skip, let count): rest.removeFirst(skip + count)
        case .needsInput: return "open"
        case .end: return "end"
        }
      }
    } catch {
      return "\(error)"
    }
  }

  @Test func extensionsOfManySmallChunksAddUp() {
    let limits = BodyLimits(extensionByteCount: 100)
    let chunk = "1;0123456789\r\nx\r\n"
    // Each has ten bytes of extension and one of payload, so an excess of nine.
    #expect(outcome(String(repeating: chunk, count: 11), limits) == "open")
    #expect(outcome(String(repeating: chunk, count: 12), limits) == "chunkExtensionTooLong")
  }

  @Test func payloadMakesUpForExtensions() {
    let chunk = "10;0123456789\r\n0123456789abcdef\r\n"
    let text = String(repeating: chunk, count: 1000) + "0\r\n\r\n"
    #expect(outcome(text, BodyLimits(extensionByteCount: 10)) == "end")
  }

  @Test func aPayloadIsNoCreditForExtensionsToCome() {
    let text = "64\r\n" + String(repeating: "x", count: 100) + "\r\n1;0123456789\r\n"
    #expect(outcome(text, BodyLimits(extensionByteCount: 9)) == "chunkExtensionTooLong")
  }

  @Test func aTrailerCountsForMoreThanItsBytes() {
    var limits = BodyLimits()
    // Two lines of six bytes, the empty one, and 32 for each field.
    limits.trailers.headByteCount = 78
    #expect(outcome("0\r\nA: b\r\nC: d\r\n\r\n", limits) == "end")
    limits.trailers.headByteCount = 77
    #expect(outcome("0\r\nA: b\r\nC: d\r\n\r\n", limits) == "trailerTooLarge")
  }

  @Test func trailersHaveLimits() {
    let lines = String(repeating: "A: b\r\n", count: 32)
    #expect(bodyOutcome("0\r\n\(lines)\r\n", .chunked).hasSuffix("A=b end, 0 left"))
    #expect(bodyOutcome("0\r\n\(lines)A: b\r\n", .chunked) == "trailerTooLarge")
    let input = Array(("0\r\nA: " + String(repeating: "b", count: 8 * 1024)).utf8)
    #expect(bodyOutcome(input, [input.count], .chunked, closes: false) == "trailerTooLarge")
    #expect(bodyOutcome(input, [5, input.count], .chunked, closes: false) == "trailerTooLarge")
  }

  @Test func trailersThatWereCheckedAreNotLookedAtAgain() throws {
    var input = Array("A: bbb".utf8)
    var decoder = BodyDecoder(.chunked)
    var trailers = FieldBlock()
    let size = try decoder.next(("0\r\n" as StaticString).bytes, trailers: &trailers)
    #expect(size == .needsInput(consumed: 3))
    let first = try decoder.next(input.span, trailers: &trailers)
    #expect(first == .needsInput(consumed: 0))
    input[input.count - 1] = 0
    input += Array("\r\n\r\n".utf8)
    let second = try decoder.next(input.span, trailers: &trailers)
    #expect(second == .end(consumed: input.count))
  }

  @Test(arguments: [
    ("", BodyFraming.none, " end, 0 left"), ("next", .none, " end, 4 left"),
    ("next", .length(0), " end, 4 left"), ("hello", .length(5), "hello end, 0 left"),
    ("hello\r\n", .length(5), "hello end, 2 left"), ("hell", .length(5), "hell open"),
    ("hello", .untilClose, "hello open"), ("1\r\nx", .chunked, "x open"),
  ])
  func otherFramings(text: String, framing: BodyFraming, expected: String) {
    #expect(bodyOutcome(text, framing) == expected)
  }

  @Test(arguments: [
    ("", BodyFraming.untilClose, " closed"), ("hello", .untilClose, "hello closed"),
    ("hell", .length(5), "truncatedBody"), ("", .length(5), "truncatedBody"),
    ("", .chunked, "truncatedBody"), ("5\r\nhello\r\n", .chunked, "truncatedBody"),
    ("0\r\n", .chunked, "truncatedBody"), ("0\r\nA: b\r\n", .chunked, "truncatedBody"),
  ])
  func theEndOfTheConnectionEndsOneKindOfBodyOnly(
    text: String, framing: BodyFraming, expected: String
  ) {
    #expect(bodyOutcome(text, framing, closes: true) == expected)
  }

  @Test func reportsTheRemainingBytes() throws {
    var trailers = FieldBlock()
    var decoder = BodyDecoder(.length(5))
    #expect(decoder.remaining == 5 && !decoder.isComplete)
    let first = try decoder.next(("he" as StaticString).bytes, trailers: &trailers)
    #expect(first == .piece(skip: 0, count: 2))
    #expect(decoder.remaining == 3)
    let second = try decoder.next(("llo!" as StaticString).bytes, trailers: &trailers)
    #expect(second == .piece(skip: 0, count: 3))
    #expect(decoder.remaining == 0 && decoder.isComplete)
    #expect(BodyDecoder(.none).isComplete && BodyDecoder(.length(0)).isComplete)
    #expect(BodyDecoder(.chunked).remaining == nil && BodyDecoder(.untilClose).remaining == nil)
  }

  @Test("a limit bounds the pieces, and not the framing around them")
  func limit() throws {
    var decoder = BodyDecoder(.chunked)
    var trailers = FieldBlock()
    let input: [UInt8] = Array("5\r\nhello\r\n0\r\n\r\n".utf8)
    var position = 0
    var text = ""
    while true {
      let rest = input.span.extracting(position..<input.count)
      switch try decoder.next(rest, limit: 2, trailers: &trailers) {
      case .piece(let skip, let count):
        #expect(count <= 2)
        let start = position + skip
        text += String(decoding: input[start..<(start + count)], as: UTF8.self) + "|"
        position = start + count
      case .needsInput: Issue.record("all of it is there")
        return
      case .end:
        #expect(text == "he|ll|o|")
        return
      }
    }
  }
}
