// An OpenSSL client over memory, and a pair of it with a session under test.

import COpenSSL
import Primitives

@testable import TLS

/// What a test client offers to the server.
struct ClientOffer {
  var serverName: String? = "a.test"
  var protocols: [String] = []
  var minimum: Int32 = TLS1_2_VERSION
  var maximum: Int32 = TLS1_3_VERSION
  var tls12Suites: String? = nil
  var tls13Suites: String? = nil
  var signatures: String? = nil
  var groups: String? = nil
  /// RFC 6066 4: 1 asks for records of 512 bytes.
  var fragmentCode: UInt8 = 0
  var trusts: String? = nil
  var ticket: ClientTicket? = nil
}

/// A session that a client may resume.
final class ClientTicket {
  let session: OpaquePointer
  init(_ session: OpaquePointer) { self.session = session }
  deinit { SSL_SESSION_free(session) }
  var hasTicket: Bool { SSL_SESSION_has_ticket(session) == 1 }
  var bytes: [UInt8] {
    var start: UnsafePointer<UInt8>? = nil
    var count = 0
    SSL_SESSION_get0_ticket(session, &start, &count)
    return Array(UnsafeBufferPointer(start: start, count: count))
  }
}

final class TestClient {
  let context: OpaquePointer
  let ssl: OpaquePointer
  private let incoming: OpaquePointer
  private let outgoing: OpaquePointer

  init(_ offer: ClientOffer = ClientOffer()) {
    let context: OpaquePointer = SSL_CTX_new(TLS_client_method())
    SSL_CTX_set_security_level(context, 0)
    SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(offer.minimum), nil)
    SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(offer.maximum), nil)
    if let suites = offer.tls12Suites { SSL_CTX_set_cipher_list(context, suites) }
    if let suites = offer.tls13Suites { SSL_CTX_set_ciphersuites(context, suites) }
    if let list = offer.signatures {
      _ = list.withCString {
        SSL_CTX_ctrl(context, SSL_CTRL_SET_SIGALGS_LIST, 0, UnsafeMutableRawPointer(mutating: $0))
      }
    }
    if let list = offer.groups {
      _ = list.withCString {
        SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, UnsafeMutableRawPointer(mutating: $0))
      }
    }
    if let path = offer.trusts {
      SSL_CTX_load_verify_file(context, path)
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    }
    let ssl: OpaquePointer = SSL_new(context)
    if let name = offer.serverName {
      _ = name.withCString {
        SSL_ctrl(
          ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
          UnsafeMutableRawPointer(mutating: $0))
      }
      if offer.trusts != nil { SSL_set1_host(ssl, name) }
    }
    if !offer.protocols.isEmpty {
      let list = offer.protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
      SSL_set_alpn_protos(ssl, list, UInt32(list.count))
    }
    if offer.fragmentCode > 0 { SSL_set_tlsext_max_fragment_length(ssl, offer.fragmentCode) }
    self.context = context
    self.ssl = ssl
    incoming = BIO_new(BIO_s_mem())
    outgoing = BIO_new(BIO_s_mem())
    SSL_set_bio(ssl, incoming, outgoing)
    SSL_set_connect_state(ssl)
    if let ticket = offer.ticket { SSL_set_session(ssl, ticket.session) }
  }

  deinit {
    // OpenSSL doesn't resume a session that ended without close_notify.
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
    SSL_free(ssl)
    SSL_CTX_free(context)
    ERR_clear_error()
  }

  /// Continues the handshake; true when it is complete.
  func step() throws -> Bool {
    let status = SSL_do_handshake(ssl)
    if status == 1 { return true }
    let error = SSL_get_error(ssl, status)
    if error == SSL_ERROR_WANT_READ { return false }
    let code = ERR_peek_error()
    ERR_clear_error()
    throw ClientFailure(reason: ERR_GET_REASON(code), text: TLSFailure.text(of: code))
  }

  func receive(_ bytes: [UInt8]) {
    if !bytes.isEmpty { BIO_write(incoming, bytes, Int32(bytes.count)) }
  }

  /// The ciphertext that the client has produced.
  func take() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: BIO_ctrl_pending(outgoing))
    if !bytes.isEmpty { BIO_read(outgoing, &bytes, Int32(bytes.count)) }
    return bytes
  }

  func write(_ bytes: [UInt8]) {
    var written = 0
    precondition(SSL_write_ex(ssl, bytes, bytes.count, &written) == 1)
  }

  /// All plaintext that has arrived; also handles tickets.
  func read() throws -> [UInt8] {
    var all: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
      var count = 0
      if SSL_read_ex(ssl, &block, block.count, &count) == 1 {
        all += block[..<count]
        continue
      }
      switch SSL_get_error(ssl, 0) {
      case SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN: return all
      default:
        let code = ERR_peek_error()
        ERR_clear_error()
        throw ClientFailure(reason: ERR_GET_REASON(code), text: TLSFailure.text(of: code))
      }
    }
  }

  var sawCloseNotify: Bool { SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0 }
  var ticket: ClientTicket { ClientTicket(SSL_get1_session(ssl)) }

  /// The first DNS name of the server's certificate.
  var peerName: String? {
    guard let certificate = SSL_get0_peer_certificate(ssl),
      let names = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil)
    else { return nil }
    defer { GENERAL_NAMES_free(OpaquePointer(names)) }
    let first = martlet_sk_GENERAL_NAME_value(OpaquePointer(names), 0)
    let value = GENERAL_NAME_get0_value(first, nil)
    let text = value?.assumingMemoryBound(to: ASN1_STRING.self)
    return String(cString: ASN1_STRING_get0_data(text))
  }

  var peerKeyName: String? {
    guard let certificate = SSL_get0_peer_certificate(ssl) else { return nil }
    return EVP_PKEY_get0_type_name(X509_get0_pubkey(certificate)).map { String(cString: $0) }
  }

  var selectedProtocol: String? {
    var start: UnsafePointer<UInt8>? = nil
    var count: UInt32 = 0
    SSL_get0_alpn_selected(ssl, &start, &count)
    guard count > 0 else { return nil }
    return String(decoding: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
  }

  var cipherName: String { String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))) }
}

struct ClientFailure: Error {
  var reason: Int32
  var text: String
}

/// A client and the session under test, connected by memory.
final class SessionPair {
  let client: TestClient
  private var session: TLSSession
  /// Ciphertext for the session.
  var inbound: [UInt8] = []
  /// The free capacity of the session's output in each call.
  var outputCapacity = 64 * 1024
  /// How many bytes the session gets per call.
  var pieceByteCount = Int.max
  /// How often a handshake call filled its output.
  private(set) var fullOutputCount = 0
  /// How often a handshake call yielded to others.
  private(set) var turnCount = 0
  /// The most bytes that one handshake call has appended.
  private(set) var longestFlight = 0

  init(_ context: TLSContext, _ offer: ClientOffer = ClientOffer()) throws {
    client = TestClient(offer)
    session = try TLSSession(accepting: context)
  }

  /// Completes the handshake on both sides and receives the tickets.
  func shakeHands() throws {
    var serverIsDone = false
    var clientIsDone = false
    for _ in 0..<20 where !(serverIsDone && clientIsDone) {
      clientIsDone = try client.step()
      inbound += client.take()
      if !serverIsDone {
        let step = try handshake()
        serverIsDone = step == .complete
      }
    }
    precondition(serverIsDone && clientIsDone, "the handshake doesn't end")
    _ = try client.read()
  }

  /// Passes all of `inbound` to the session; its output goes to the client, also after a failure.
  func handshake() throws(TLSFailure) -> HandshakeStep {
    var step = HandshakeStep.wantsInput
    repeat {
      let piece = Array(inbound.prefix(pieceByteCount))
      inbound.removeFirst(piece.count)
      var input = piece.span
      repeat {
        var failure: TLSFailure? = nil
        let output = [UInt8](capacity: outputCapacity) { output in
          do throws(TLSFailure) {
            step = try session.handshake(input: &input, output: &output)
          } catch {
            failure = error
          }
        }
        if step == .wantsOutput { fullOutputCount += 1 }
        if step == .wantsTurn { turnCount += 1 }
        longestFlight = max(longestFlight, output.count)
        client.receive(output)
        if let failure { throw failure }
      } while step == .wantsOutput || step == .wantsTurn
      let left = piece.suffix(input.count)
      inbound = Array(left) + inbound
    } while step == .wantsInput && !inbound.isEmpty
    return step
  }

  /// One `read` with `room` bytes for plaintext.
  func read(room: Int) throws(TLSFailure) -> (bytes: [UInt8], step: ReadStep) {
    let piece = Array(inbound.prefix(pieceByteCount))
    inbound.removeFirst(piece.count)
    var input = piece.span
    var result = Result<ReadStep, TLSFailure>.failure(.ended)
    var output: [UInt8] = []
    let plaintext = [UInt8](capacity: room) { plaintext in
      output = [UInt8](capacity: outputCapacity) { output in
        result = Result { () throws(TLSFailure) in
          try session.read(input: &input, plaintext: &plaintext, output: &output)
        }
      }
    }
    inbound = Array(piece.suffix(input.count)) + inbound
    client.receive(output)
    return (plaintext, try result.get())
  }

  /// Reads until the session needs more input, or the client has closed.
  func readAll(room: Int = 64 * 1024) throws(TLSFailure) -> (bytes: [UInt8], step: ReadStep) {
    inbound += client.take()
    var all: [UInt8] = []
    while true {
      let (bytes, step) = try read(room: room)
      all += bytes
      if step == .closed || (step == .wantsInput && inbound.isEmpty) { return (all, step) }
    }
  }

  /// One `write`; returns how much was encrypted, and the ciphertext.
  func write(_ bytes: [UInt8], capacity: Int) throws(TLSFailure) -> (taken: Int, output: [UInt8]) {
    var result = Result<Int, TLSFailure>.failure(.ended)
    let output = [UInt8](capacity: capacity) { output in
      result = Result { () throws(TLSFailure) in
        try session.write(bytes.span, output: &output)
      }
    }
    return (try result.get(), output)
  }

  /// Writes all of `bytes` and passes them to the client.
  func writeAll(_ bytes: [UInt8]) throws {
    var rest = bytes
    while !rest.isEmpty {
      let (taken, output) = try write(rest, capacity: outputCapacity)
      precondition(taken > 0, "no room for a single byte")
      rest.removeFirst(taken)
      client.receive(output)
    }
  }

  func takeControlRecordCount() -> Int { session.takeControlRecordCount() }

  func fail() -> [UInt8] {
    [UInt8](capacity: 64) { output in session.fail(output: &output) }
  }

  func close() -> [UInt8] {
    [UInt8](capacity: 64) { output in session.close(output: &output) }
  }

  var version: TLSVersion { session.version }
  var cipherSuite: CipherSuite { session.cipherSuite }
  var isResumed: Bool { session.isResumed }
  var pendingByteCount: Int { session.pendingByteCount }
  var serverName: String { Self.serverName(of: session) }

  private static func serverName(of session: borrowing TLSSession) -> String {
    String(decoding: session.serverName)
  }
}

/// A context with the default policy, keys and name.
func makeContext(
  _ certificates: [Certificate]? = nil, policy: TLSPolicy = TLSPolicy(), keys: TicketKeys? = nil,
  listener: String = "public", clock: (@Sendable () -> Int64)? = nil
) throws -> TLSContext {
  try TLSContext(
    certificates: try certificates ?? [TestAuthority.shared.certificate()], policy: policy,
    ticketKeys: try keys ?? TicketKeys(), listenerName: listener, clock: clock)
}

/// `count` bytes without short repetitions.
func pattern(_ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
}
