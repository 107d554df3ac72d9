// The first bytes of a TLS connection: record layer, ClientHello, the choice of a certificate by
// SNI, ALPN, and what follows without keys. OpenSSL does the parsing; this tests our BIO, callbacks
// and states. Properties for any input:
//
// - However the bytes are split, the handshake ends, fails or waits in the same way, with the same
//   error. Only a ClientHello that is too long may be found before or after another fault.
// - A handshake never completes, since the client never reads the server's messages.
// - A session that failed stays failed, and reports it.

import FuzzSupport
import Primitives
import TLS

private let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

/// `scripts/fuzz` makes the certificate.
private let context: TLSContext = {
  do {
    let folder = "/\(root)/certs/"
    let certificate = try Certificate(
      chainPath: folder + "server.crt", keyPath: folder + "server.key")
    return try TLSContext(
      certificates: [certificate], policy: TLSPolicy(), ticketKeys: TicketKeys(),
      listenerName: "fuzz")
  } catch {
    fatalError("\(error)")
  }
}()

private enum Outcome: Equatable {
  case waits
  case failed(TLSFailure)
}

@c(LLVMFuzzerTestOneInput)
public func fuzzClientHello(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let input = FuzzInput(start, count) else { return 0 }
  // Whole, and split once. Byte by byte would take too long.
  let outcomes = input.arrivals.prefix(2).map { shakeHands(input.bytes, $0) }
  require(
    outcomes[0] == outcomes[1]
      || outcomes.contains(.failed(.helloTooLong)) && !outcomes.contains(.waits),
    "a cut changes \(outcomes[0]) into \(outcomes[1])")
  return 0
}

private func shakeHands(_ bytes: [UInt8], _ arrivals: [Int]) -> Outcome {
  do throws(TLSFailure) {
    var session = try TLSSession(accepting: context)
    var done = 0
    for count in arrivals {
      do throws(TLSFailure) {
        done += try advance(&session, bytes, done..<count)
      } catch {
        require(isEnded(&session), "a failed session goes on")
        return .failed(error)
      }
    }
    return .waits
  } catch {
    fatalError("no session: \(error)")
  }
}

/// Passes all of the bytes to the session, and returns how many that were.
private func advance(
  _ session: inout TLSSession, _ bytes: [UInt8], _ range: Range<Int>
) throws(TLSFailure) -> Int {
  var input = bytes.span.extracting(range)
  while true {
    var output = ByteBuffer(capacity: TLSSession.handshakeOutputByteCount)
    var result: Result<HandshakeStep, TLSFailure>?
    output.fill { target in
      do throws(TLSFailure) {
        result = .success(try session.handshake(input: &input, output: &target))
      } catch {
        result = .failure(error)
      }
    }
    switch try result?.get() {
    case .wantsInput:
      require(input.isEmpty, "wants more, with \(input.count) bytes at hand")
      return range.count
    case .wantsTurn: require(!input.isEmpty, "wants another turn without any input")
    case .wantsOutput: require(!output.isEmpty, "wants room, with all of it free")
    case .complete, nil: fatalError("a handshake without keys is complete")
    }
  }
}

private func isEnded(_ session: inout TLSSession) -> Bool {
  var input = Span<UInt8>()
  var output = OutputSpan<UInt8>()
  do throws(TLSFailure) {
    _ = try session.handshake(input: &input, output: &output)
    return false
  } catch {
    return error == .ended
  }
}
