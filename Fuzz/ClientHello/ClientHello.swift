// The first bytes of a TLS connection: record layer, ClientHello, the choice of a certificate by
// SNI, ALPN, and whatever follows without keys. OpenSSL does the parsing; it is our wire, our
// callbacks and our states that are looked at. What must hold for any bytes:
//
// - however they are cut, the handshake ends, fails or waits alike, for the same reason;
// - nobody completes a handshake without having seen our side of it;
// - a session that failed stays failed, and says so.

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
  // Whole, cut once; byte by byte costs a session's work for each byte.
  let outcomes = input.arrivals.prefix(2).map { shakeHands(input.bytes, $0) }
  require(outcomes[0] == outcomes[1], "a cut changes \(outcomes[0]) into \(outcomes[1])")
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

/// Takes all of the bytes into the session, and returns how many that were.
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
