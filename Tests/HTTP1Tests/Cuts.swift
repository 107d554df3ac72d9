// The harness of every parser test: the outcome must not depend on how the bytes are split.

import HTTP
import HTTP1
import Primitives
import Testing

/// Runs `body` with several ways of arrival of `input`: whole, split at each position, and byte by
/// byte. `body` gets the number of available bytes at each step and returns the outcome. All
/// outcomes must be the same; it is returned.
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

/// The result of a request parser for `text`: the error's case, `incomplete`, or a description.
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
  // Data of an earlier message must not be visible.
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

/// The result of a body decoder for `text`: the payload, the trailers after ` + `, and the ending.
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

/// The remaining fields, as ` + name=value` each.
func describeFields(_ fields: borrowing FieldBlock) -> String {
  var text = ""
  for index in 0..<fields.count where !fields[index].isRemoved {
    let name = String(decoding: fields.bytes(of: fields[index].name))
    let value = String(decoding: fields.bytes(of: fields[index].value))
    text += " + \(name)=\(value)"
  }
  return text
}

/// Parses `text`, which must be valid, for an encoder or a framing rule.
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
