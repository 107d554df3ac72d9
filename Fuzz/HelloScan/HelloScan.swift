// The first bytes of a client whose TLS is passed through: the search for the end of its
// ClientHello, and the name and the protocols in it. Properties for any input:
//
// - However the bytes are split, the verdict is the same, and so are the name and the protocols.
// - A whole message is as long as it says.
// - The limit is kept: no message is longer, and none is waited for beyond it.

import FuzzSupport
import Primitives
import TLS

private struct Outcome: Equatable {
  var verdict: HelloScan.Verdict
  var message: [UInt8] = []
  var hello: ClientHello?
}

@c(LLVMFuzzerTestOneInput)
public func fuzzHelloScan(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  let outcomes = input.arrivals.map { read(input.bytes, $0) }
  for outcome in outcomes {
    require(
      outcome == outcomes[0], "a cut changes \(outcomes[0].verdict) into \(outcome.verdict)")
  }
  return 0
}

private func read(_ bytes: [UInt8], _ arrivals: [Int]) -> Outcome {
  var scan = HelloScan()
  for count in arrivals {
    let arrived = bytes.span.extracting(first: count)
    let verdict = scan.scan(arrived)
    switch verdict {
    case .more:
      require(count < HelloScan.byteMax, "waits beyond the limit")
    case .notTLS, .tooBig:
      return Outcome(verdict: verdict)
    case .whole:
      var message = ByteBuffer(capacity: HelloScan.byteMax)
      ClientHello.appendMessage(arrived, to: &message)
      let text = message.array(0..<message.count)
      require(text.count >= 4 && text.count <= HelloScan.byteMax, "\(text.count) bytes")
      let length = text[1...3].reduce(0) { $0 << 8 | Int($1) }
      require(text.count == 4 + length, "\(text.count) bytes, and it says \(length)")
      let hello = ClientHello(text.span)
      let offer: [UInt8] = [0x68, 0x32]
      _ = hello?.offers(offer.span, in: text.span)
      return Outcome(verdict: verdict, message: text, hello: hello)
    }
  }
  return Outcome(verdict: .more)
}
