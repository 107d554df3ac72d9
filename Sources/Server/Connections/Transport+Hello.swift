// What a transport says about the first message of a TLS client: one that is passed through, whose
// bytes wait in `inbound`, or one of the transport's own session.

import Primitives
import TLS

extension Transport {
  func continueScan(_ scan: inout HelloScan) -> HelloScan.Verdict { scan.scan(inbound.bytes) }

  /// Appends the whole message, without the headers of its records. It stays in `inbound`.
  func appendHello(to text: inout ByteBuffer) {
    ClientHello.appendMessage(inbound.bytes, to: &text)
  }

  /// The pool for this name and the protocol on which the session has agreed.
  func pool(by rules: TCPRules, for name: Span<UInt8>) -> Int? {
    rules.pool(for: name) { speaks($0) }
  }
}
