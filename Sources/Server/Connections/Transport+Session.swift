// How a transport calls its TLS session, and with which buffers. Transport.swift decides when.

import Primitives
import TLS

extension Transport {
  static func handshake(
    _ session: inout TLSSession?, _ ciphertext: inout ByteBuffer, _ outbound: inout ByteBuffer
  ) throws(TLSFailure) -> HandshakeStep {
    var input = ciphertext.bytes
    let before = input.count
    var step = HandshakeStep.wantsInput
    var failed: TLSFailure?
    outbound.fill { output in
      do throws(TLSFailure) {
        step = try session?.handshake(input: &input, output: &output) ?? .wantsInput
      } catch {
        failed = error
      }
    }
    let consumed = before - input.count
    ciphertext.consume(consumed)
    if let failed { throw failed }
    return step
  }

  static func read(
    _ session: inout TLSSession?, _ ciphertext: inout ByteBuffer, _ inbound: inout ByteBuffer,
    _ outbound: inout ByteBuffer
  ) throws(TLSFailure) -> ReadStep {
    var input = ciphertext.bytes
    let before = input.count
    var step = ReadStep.wantsInput
    var failed: TLSFailure?
    outbound.fill { output in
      inbound.fill { plaintext in
        do throws(TLSFailure) {
          step =
            try session?.read(input: &input, plaintext: &plaintext, output: &output) ?? .wantsInput
        } catch {
          failed = error
        }
      }
    }
    let consumed = before - input.count
    ciphertext.consume(consumed)
    if let failed { throw failed }
    return step
  }

  static func encrypt(
    _ session: inout TLSSession?, _ bytes: Span<UInt8>, _ outbound: inout ByteBuffer
  ) throws(TLSFailure) -> Int {
    try outbound.fill { (output) throws(TLSFailure) in
      try session?.write(bytes, output: &output) ?? bytes.count
    }
  }

  static func failSession(_ session: inout TLSSession?, _ outbound: inout ByteBuffer) {
    outbound.fill { output in session?.fail(output: &output) }
  }

  static func closeNotify(_ session: inout TLSSession?, _ outbound: inout ByteBuffer) {
    outbound.fill { output in session?.close(output: &output) }
  }
}

// What was negotiated.
extension Transport {
  /// Nil without TLS, or before the handshake is done.
  var tlsFacts: TLSFacts? {
    guard isEstablished else { return nil }
    switch session {
    case .some(let session):
      return TLSFacts(
        version: session.version.name, suite: session.cipherSuite, isResumed: session.isResumed)
    case .none:
      return nil
    }
  }

  /// Whether client and server have agreed on HTTP/2 by ALPN.
  var isHTTP2: Bool {
    switch session {
    case .some(let session): session.speaks("h2")
    case .none: false
    }
  }

  /// Whether the peers have agreed on this protocol by ALPN.
  func speaks(_ name: Span<UInt8>) -> Bool {
    switch session {
    case .some(let session): session.speaks(name)
    case .none: false
    }
  }

  /// The protocol agreed on by ALPN; empty for none.
  var protocolName: [UInt8] {
    switch session {
    case .some(let session): session.protocolName
    case .none: []
    }
  }

  /// Appends the server name from the client's handshake; nothing if there was none.
  func appendServerName(to text: inout ByteBuffer) {
    switch session {
    case .some(let session): text.append(session.serverName)
    case .none: break
    }
  }
}

/// What the access log and the metrics say about a connection's encryption.
struct TLSFacts {
  let version: StaticString
  let suite: CipherSuite
  /// Whether a ticket replaced the full handshake.
  let isResumed: Bool
}
