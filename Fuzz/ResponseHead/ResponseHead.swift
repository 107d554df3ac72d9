// Response heads. Properties for any input:
//
// - The outcome doesn't depend on how the bytes are split.
// - A head accepted by any rules and written for an HTTP/1.1 client parses strictly to the same
//   head, with the framing that the encoder returned.

import FuzzSupport
import HTTP
import HTTP1
import Primitives

private struct Outcome: Equatable {
  var error: HTTP1Error?
  var byteCount: Int?
  var status: UInt16 = 0
  var framing: BodyFraming?
  var persists = false
  var written: [UInt8] = []
  /// The framing that the encoder returned.
  var writtenFraming: BodyFraming?
}

private let methods: [Method] = [.get, .head, .post, .connect]

@c(LLVMFuzzerTestOneInput)
public func fuzzResponseHead(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let method = methods[Int(input.control) % methods.count]
  let rules = input.control & 0x80 == 0 ? ResponseRules.strict : .tolerant
  let outcome = input.everyWay { parse(input.bytes, $0, method, rules) }
  guard outcome.byteCount != nil, let framing = outcome.writtenFraming else { return 0 }
  let again = parse(outcome.written, [outcome.written.count], method, limits: writtenLimits)
  let text = quoted(outcome.written)
  require(again.byteCount == outcome.written.count, "\(text): \(again)")
  require(again.status == outcome.status, "\(text): \(again)")
  require(again.framing == framing, "\(text) was written as \(framing), and frames \(again)")
  require(again.written == outcome.written, "\(text) becomes \(again)")
  return 0
}

/// The written head may be longer than the input: the encoder adds fields.
private let writtenLimits = HeadLimits(
  headByteCount: 64 * 1024, targetByteCount: 32 * 1024, fieldCount: 200)

private func parse(
  _ bytes: [UInt8], _ arrivals: [Int], _ method: Method, _ rules: ResponseRules = .strict,
  limits: HeadLimits = HeadLimits()
) -> Outcome {
  var parser = ResponseParser(limits: limits, rules: rules)
  var head = ResponseHead()
  var outcome = Outcome()
  do throws(HTTP1Error) {
    for count in arrivals {
      guard
        case .complete(let end) = try parser.parse(bytes.span.extracting(0..<count), into: &head)
      else { continue }
      let framing = try head.framing(answering: method)
      require(end <= count, "\(end) of \(count) bytes are a head")
      outcome.byteCount = end
      outcome.status = head.status
      outcome.framing = framing
      outcome.persists = head.persists(framing: framing)
      var output = ByteBuffer()
      if head.status < 200 {
        head.encodeInterim(into: &output)
        outcome.writtenFraming = BodyFraming.none
      } else {
        outcome.writtenFraming = head.encode(
          for: .http11, body: framing.bodyLength, connection: .close, into: &output)
      }
      outcome.written = output.array(0..<output.count)
      break
    }
  } catch {
    outcome = Outcome(error: error)
  }
  return outcome
}
