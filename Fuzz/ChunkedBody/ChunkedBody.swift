// Chunked bodies. Properties for any input:
//
// - The outcome doesn't depend on how the bytes are split, and no step consumes more than there is.
// - What follows the end of the body is not consumed and doesn't change the outcome.
// - A decoded body that is encoded again decodes to the same payload and trailers.

import FuzzSupport
import HTTP
import HTTP1
import Primitives

private struct Outcome: Equatable {
  var error: HTTP1Error?
  var payload: [UInt8] = []
  /// The trailers as they are forwarded.
  var tail: [UInt8] = []
  /// The position after the body.
  var end: Int?
}

@c(LLVMFuzzerTestOneInput)
public func fuzzChunkedBody(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let outcome = input.everyWay { decode(input.bytes, $0) }
  guard let end = outcome.end else { return 0 }

  let alone = Array(input.bytes[..<end])
  require(decode(alone, [end]) == outcome, "what follows changes \(outcome)")

  let written = encode(outcome, piece: 1 + Int(input.control))
  let again = decode(written, [written.count])
  require(again.end == written.count, "\(quoted(written)): \(again)")
  require(again.payload == outcome.payload, "\(quoted(written)): \(again)")
  require(again.tail == outcome.tail, "\(quoted(written)): \(again)")
  return 0
}

private func decode(_ bytes: [UInt8], _ arrivals: [Int]) -> Outcome {
  var decoder = BodyDecoder(.chunked)
  var trailers = FieldBlock()
  var outcome = Outcome()
  var done = 0
  do throws(HTTP1Error) {
    for count in arrivals {
      stepping: while true {
        switch try decoder.next(bytes.span.extracting(done..<count), trailers: &trailers) {
        case .piece(let skip, let length):
          require(length > 0 && done + skip + length <= count, "a piece beyond the input")
          outcome.payload += bytes[(done + skip)..<(done + skip + length)]
          done += skip + length
        case .needsInput(let consumed):
          done += consumed
          require(done <= count, "\(done) of \(count) bytes consumed")
          break stepping
        case .end(let consumed):
          done += consumed
          require(done <= count, "\(done) of \(count) bytes consumed")
          require(decoder.isComplete, "an end that isn't complete")
          var output = ByteBuffer()
          BodyEncoder(.chunked).end(trailers: trailers, into: &output)
          outcome.tail = output.array(0..<output.count)
          outcome.end = done
          return outcome
        }
      }
    }
  } catch {
    // How much payload came out before the error depends on how the bytes are split.
    outcome = Outcome(error: error)
  }
  return outcome
}

/// The body in chunks of another size, with the same trailers.
private func encode(_ outcome: Outcome, piece: Int) -> [UInt8] {
  let encoder = BodyEncoder(.chunked)
  var output = ByteBuffer()
  var start = 0
  while start < outcome.payload.count {
    let end = min(start + piece, outcome.payload.count)
    encoder.beginPiece(count: end - start, into: &output)
    output.append(outcome.payload.span.extracting(start..<end))
    encoder.endPiece(count: end - start, into: &output)
    start = end
  }
  output.append(outcome.tail.span)
  return output.array(0..<output.count)
}
