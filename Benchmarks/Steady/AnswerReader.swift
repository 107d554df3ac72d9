// Reads one response to a GET incrementally: bytes in, progress out.

import HTTP
import HTTP1
import Primitives

/// Memory that all readers share: its content is not used after a call.
struct AnswerScratch: ~Copyable {
  var head = ResponseHead()
  var trailers = FieldBlock()
}

struct AnswerReader {
  private enum Stage {
    case head(ResponseParser)
    case body(BodyDecoder, isWanted: Bool)
  }

  enum Progress {
    /// This number of bytes is consumed; call again with the rest and more after it.
    case incomplete(consumed: Int)
    /// The response has ended. `isWanted`: its status is 200.
    case complete(consumed: Int, isWanted: Bool)
    /// It isn't HTTP, or it closes the connection.
    case failed
  }

  private var stage = Stage.head(ResponseParser())

  mutating func read(
    _ input: borrowing ByteBuffer, _ scratch: inout AnswerScratch
  ) -> Progress {
    do throws(HTTP1Error) {
      return try advance(input.bytes, &scratch)
    } catch {
      return .failed
    }
  }

  private mutating func advance(
    _ input: Span<UInt8>, _ scratch: inout AnswerScratch
  ) throws(HTTP1Error) -> Progress {
    var position = 0
    while true {
      let rest = input.extracting(position...)
      switch stage {
      case .head(var parser):
        guard case .complete(let count) = try parser.parse(rest, into: &scratch.head) else {
          stage = .head(parser)
          return .incomplete(consumed: position)
        }
        position += count
        if scratch.head.isInterim { continue }
        let framing = try scratch.head.framing(answering: .get)
        guard scratch.head.persists(framing: framing) else { return .failed }
        stage = .body(BodyDecoder(framing), isWanted: scratch.head.status == 200)
      case .body(var decoder, let isWanted):
        let step = try decoder.next(rest, trailers: &scratch.trailers)
        stage = .body(decoder, isWanted: isWanted)
        switch step {
        case .piece(let skip, let count): position += skip + count
        case .needsInput(let consumed): return .incomplete(consumed: position + consumed)
        case .end(let consumed):
          return .complete(consumed: position + consumed, isWanted: isWanted)
        }
      }
    }
  }
}
