// Request heads. Properties for any input:
//
// - The outcome doesn't depend on how the bytes are split.
// - An accepted head that is written and strictly parsed again is the same, with the same framing.
// - Tolerant rules accept what strict rules accept, with the same outcome and without a tolerated
//   error.
// - What only tolerant rules accept, strict rules refuse with a tolerable error.

import FuzzSupport
import HTTP
import HTTP1
import Primitives

private struct Outcome: Equatable {
  var error: HTTP1Error?
  var byteCount: Int?
  var framing: BodyFraming?
  var persists = false
  /// As it is sent to a backend.
  var written: [UInt8] = []
  var hasAuthority = false
  var tolerated = ToleratedReasons()
}

@c(LLVMFuzzerTestOneInput)
public func fuzzRequestHead(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let strict = input.everyWay { parse(input.bytes, $0, tolerates: false) }
  let tolerant = input.everyWay { parse(input.bytes, $0, tolerates: true) }
  if strict.error == nil {
    require(tolerant == strict, "tolerance changes \(strict) into \(tolerant)")
    require(tolerant.tolerated.isEmpty, "there was nothing to forgive")
  } else if tolerant.error == nil {
    require(!tolerant.tolerated.isEmpty, "forgiven without a reason: \(tolerant)")
  }
  if let error = strict.error, tolerant.error == nil {
    require(HTTP1Error.tolerable.contains(error), "\(error) is forgiven")
  }
  for outcome in [strict, tolerant] { checkWritten(outcome) }
  return 0
}

/// The written head may be longer than the input: the encoder adds fields.
private let writtenLimits = HeadLimits(
  headByteCount: 64 * 1024, targetByteCount: 32 * 1024, fieldCount: 200)

private func parse(
  _ bytes: [UInt8], _ arrivals: [Int], tolerates: Bool, limits: HeadLimits = HeadLimits()
) -> Outcome {
  var parser = RequestParser(limits: limits, tolerates: tolerates)
  var head = RequestHead()
  var outcome = Outcome()
  do throws(HTTP1Error) {
    for count in arrivals {
      guard
        case .complete(let end) = try parser.parse(bytes.span.extracting(0..<count), into: &head)
      else { continue }
      let framing = try head.framing()
      require(end <= count, "\(end) of \(count) bytes are a head")
      outcome.byteCount = end
      outcome.framing = framing
      outcome.persists = head.persists
      outcome.hasAuthority = !head.authority.isEmpty
      outcome.tolerated = parser.tolerated
      var output = ByteBuffer()
      head.encode(body: framing.bodyLength, connection: .keepAlive, into: &output)
      outcome.written = output.array(0..<output.count)
      break
    }
  } catch {
    outcome = Outcome(error: error)
  }
  return outcome
}

/// Only an HTTP/1.0 request may have no host, and is forwarded without one.
private func checkWritten(_ outcome: Outcome) {
  guard outcome.error == nil, outcome.byteCount != nil, outcome.hasAuthority else { return }
  let again = parse(
    outcome.written, [outcome.written.count], tolerates: false, limits: writtenLimits)
  require(again.byteCount == outcome.written.count, "\(quoted(outcome.written)): \(again)")
  require(again.framing == outcome.framing, "\(quoted(outcome.written)) frames \(again)")
  require(again.written == outcome.written, "\(quoted(outcome.written)) becomes \(again)")
}
