// The harness of every parser test: however the bytes are cut, the outcome is the same.

import HTTP
import HTTP1
import Primitives
import Testing

/// Runs `body` with every way to let `input` arrive that we look at: whole, in two parts cut at
/// each position, and byte by byte. `body` gets how many bytes are there at each step, and tells
/// what came of it; all must tell the same, which is returned.
func everyWay(
  _ input: [UInt8], sourceLocation: SourceLocation = #_sourceLocation,
  _ body: (_ arrivals: [Int]) -> String
) -> String {
  let whole = body([input.count])
  for cut in 0..<input.count {
    let parted = body([cut, input.count])
    #expect(parted == whole, "cut at \(cut)", sourceLocation: sourceLocation)
  }
  let dripped = body(Array(0...input.count))
  #expect(dripped == whole, "byte by byte", sourceLocation: sourceLocation)
  return whole
}

/// What a request parser makes of `text`: the error's case, `incomplete`, or a description.
func requestOutcome(
  _ text: String, limits: HeadLimits = HeadLimits(),
  sourceLocation: SourceLocation = #_sourceLocation,
  describe: (borrowing RequestHead) -> String = { _ in "complete" }
) -> String {
  let input = Array(text.utf8)
  return everyWay(input, sourceLocation: sourceLocation) { arrivals in
    requestOutcome(input, arrivals, limits, describe)
  }
}

func requestOutcome(
  _ input: [UInt8], _ arrivals: [Int], _ limits: HeadLimits,
  _ describe: (borrowing RequestHead) -> String
) -> String {
  var parser = RequestParser(limits: limits)
  // Rests of another message must not show.
  var head = RequestHead()
  head.fields.append(.host, "stale")
  do {
    for count in arrivals {
      let progress = try parser.parse(input.span.extracting(0..<count), into: &head)
      if case .complete(let byteCount) = progress {
        return "\(byteCount == input.count ? "" : "\(byteCount) bytes ")\(describe(head))"
      }
    }
    return "incomplete"
  } catch {
    return "\(error)"
  }
}

func responseOutcome(
  _ text: String, limits: HeadLimits = HeadLimits(),
  sourceLocation: SourceLocation = #_sourceLocation,
  describe: (borrowing ResponseHead) -> String = { _ in "complete" }
) -> String {
  let input = Array(text.utf8)
  return everyWay(input, sourceLocation: sourceLocation) { arrivals in
    responseOutcome(input, arrivals, limits, describe)
  }
}

func responseOutcome(
  _ input: [UInt8], _ arrivals: [Int], _ limits: HeadLimits,
  _ describe: (borrowing ResponseHead) -> String
) -> String {
  var parser = ResponseParser(limits: limits)
  var head = ResponseHead()
  head.fields.append(.host, "stale")
  do {
    for count in arrivals {
      let progress = try parser.parse(input.span.extracting(0..<count), into: &head)
      if case .complete(let byteCount) = progress {
        return "\(byteCount == input.count ? "" : "\(byteCount) bytes ")\(describe(head))"
      }
    }
    return "incomplete"
  } catch {
    return "\(error)"
  }
}

/// What a body decoder makes of `text`: the payload, the trailers behind ` + `, and how it ended.
func bodyOutcome(
  _ text: String, _ framing: BodyFraming, closes: Bool = false,
  sourceLocation: SourceLocation = #_sourceLocation
) -> String {
  let input = Array(text.utf8)
  return everyWay(input, sourceLocation: sourceLocation) { arrivals in
    bodyOutcome(input, arrivals, framing, closes: closes)
  }
}

func bodyOutcome(
  _ input: [UInt8], _ arrivals: [Int], _ framing: BodyFraming, closes: Bool
) -> String {
  var decoder = BodyDecoder(framing)
  var trailers = FieldBlock()
  trailers.append(.host, "stale")
  var payload: [UInt8] = []
  var done = 0
  do {
    for count in arrivals {
      stepping: while true {
        let step = try decoder.next(input.span.extracting(done..<count), trailers: &trailers)
        switch step {
        case .piece(let skip, let count):
          precondition(count > 0, "an empty piece")
          payload += input[(done + skip)..<(done + skip + count)]
          done += skip + count
        case .needsInput(let consumed):
          done += consumed
          break stepping
        case .end(let consumed):
          done += consumed
          let rest = input.count - done
          let text = String(decoding: payload, as: UTF8.self)
          guard framing == .chunked else { return "\(text) end, \(rest) left" }
          return "\(text)\(describeFields(trailers)) end, \(rest) left"
        }
      }
    }
    if closes { try decoder.finish() }
    return "\(String(decoding: payload, as: UTF8.self)) \(decoder.isComplete ? "closed" : "open")"
  } catch {
    return "\(error)"
  }
}

/// The fields that are left, ` + name=value` each.
func describeFields(_ fields: borrowing FieldBlock) -> String {
  var text = ""
  for index in 0..<fields.count where !fields[index].isRemoved {
    let name = String(decoding: fields.bytes(of: fields[index].name))
    let value = String(decoding: fields.bytes(of: fields[index].value))
    text += " + \(name)=\(value)"
  }
  return text
}

/// `text` as a head for an encoder or a framing rule; it must be valid.
func withRequest<Result>(
  _ text: String, _ body: (inout RequestHead) throws -> Result
) throws -> Result {
  var parser = RequestParser()
  var head = RequestHead()
  let input = Array(text.utf8)
  let progress = try parser.parse(input.span, into: &head)
  #expect(progress == .complete(byteCount: input.count))
  return try body(&head)
}

func withResponse<Result>(
  _ text: String, _ body: (inout ResponseHead) throws -> Result
) throws -> Result {
  var parser = ResponseParser()
  var head = ResponseHead()
  let input = Array(text.utf8)
  let progress = try parser.parse(input.span, into: &head)
  #expect(progress == .complete(byteCount: input.count))
  return try body(&head)
}
