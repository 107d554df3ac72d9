// A TLS session without I/O, with a client or with a backend: ciphertext in, plaintext out, and
// back.
//
// The caller owns the buffers. Ciphertext is removed from the front of `input`; ciphertext and
// plaintext are appended to the outputs. Only OpenSSL stores data: a partial record, or plaintext
// that did not fit. Our code allocates nothing per call.
//
//   handshaking ──complete──► established ──close()──► closing
//        └──────── a failure ──────┴──────────────────────┴──► ended
//
// When a failure is thrown, its alert is in `output`: flush, then close. So catch the error before
// the appended bytes are discarded. The caller has to detect a connection that ends without
// close_notify.

import COpenSSL
import Glibc
public import Primitives

/// What a handshake needs next.
public enum HandshakeStep: Equatable, Sendable {
  /// All input was consumed; more is needed.
  case wantsInput
  /// The limit of records per call was reached. Let others run and call again, also without new
  /// input.
  case wantsTurn
  /// `output` is full: flush it and call again, also without new input.
  case wantsOutput
  /// Done. The rest of `input` is the peer's first data; read it now.
  case complete
}

/// Why `read` stopped.
public enum ReadStep: Equatable, Sendable {
  /// All input was consumed and all plaintext returned.
  case wantsInput
  /// The limit of records per call is reached, and other connections must be served. Call again,
  /// also without new input.
  case wantsTurn
  /// `plaintext` is full and there is, or may be, more: make room and call again.
  case plaintextFull
  /// The peer has sent close_notify; anything after it is ignored.
  case closed
}

/// The owner of an SSL *.
@safe public struct TLSSession: ~Copyable {
  private enum State {
    case handshaking
    case established
    /// We have sent close_notify; the peer may still send.
    case closing
    case ended
  }

  /// A handshake is fastest with this much free capacity in `output`: its longest flight, with a
  /// chain of four RSA certificates, then fits at once. Any capacity above 0 works.
  public static let handshakeOutputByteCount = 12 * 1024
  /// The free capacity in `output` that `read` and `close` need for alerts.
  public static let alertByteCount = 64

  /// The limit of records per call of `handshake`, and of records without data per call of `read`.
  /// A client's longest flight has five; each KeyUpdate (RFC 8446 4.6.3) costs about ten
  /// microseconds.
  public static let recordsPerTurn = 16
  /// The maximum number of records with data per call of `read`. It is more than a block contains,
  /// unless the records are far shorter than a packet. Each record costs about a microsecond,
  /// however short it is.
  public static let dataRecordsPerTurn = 64

  /// The maximum plaintext in one record (RFC 8446 5.1).
  private static let recordByteCountMax = 16 * 1024
  /// Header, explicit nonce and tag of TLS 1.2 AES-GCM; TLS 1.3 needs 22 bytes.
  private static let recordOverhead = 29
  /// Room for what OpenSSL may send before data: a KeyUpdate (27 bytes) and an alert (31).
  private static let controlByteCount = 64

  /// Who the peer is, and the objects that OpenSSL's callbacks point to.
  private enum Role {
    case server(TLSContext)
    /// The slot is nil if the session is not kept for a resumption.
    case client(UpstreamContext, SessionSlot?)
  }

  private let role: Role
  private let ssl: OpaquePointer
  private let wire: UnsafeMutablePointer<Wire>
  private var opening = Opening()
  /// Bytes at the front of the next input that `opening` has seen.
  private var observedByteCount = 0
  /// Less than the maximum if the client asked for shorter records (RFC 6066 4).
  private var recordByteCount = UInt16(recordByteCountMax)
  private var state = State.handshaking
  /// Records without data after the handshake: KeyUpdate, requests to renegotiate, warning alerts,
  /// empty records. See `takeControlRecordCount`.
  private var controlRecordCount = 0

  /// A session that waits for a ClientHello. Fails only when memory is short.
  public init(accepting context: TLSContext) throws(TLSFailure) {
    let ssl = try unsafe context.makeSession()
    unsafe wire = try unsafe Self.connectWire(to: ssl)
    unsafe SSL_set_accept_state(ssl)
    role = .server(context)
    unsafe self.ssl = ssl
  }

  /// A session that begins with our ClientHello, which the first call of `handshake` writes. The
  /// backend at `address` must have a certificate for `name`, as far as the context verifies it.
  /// With `resumes`, an earlier session with it may be resumed.
  public init(
    connecting context: UpstreamContext, to name: String, at address: SocketAddress,
    resumes: Bool = true, onlyHTTP1: Bool = false
  ) throws(TLSFailure) {
    let (ssl, slot) = try unsafe context.makeSession(to: name, at: address, resumes: resumes)
    if onlyHTTP1 {
      let offer: [UInt8] = [8] + Array("http/1.1".utf8)
      _ = unsafe SSL_set_alpn_protos(ssl, offer, UInt32(offer.count))
    }
    unsafe wire = try unsafe Self.connectWire(to: ssl)
    unsafe SSL_set_connect_state(ssl)
    role = .client(context, slot)
    unsafe self.ssl = ssl
  }

  /// Frees `ssl` if it fails.
  private static func connectWire(
    to ssl: OpaquePointer
  ) throws(TLSFailure) -> UnsafeMutablePointer<Wire> {
    let wire = UnsafeMutablePointer<Wire>.allocate(capacity: 1)
    unsafe wire.initialize(to: Wire())
    guard let bio = unsafe Wire.makeBIO(over: wire) else {
      unsafe SSL_free(ssl)
      unsafe wire.deallocate()
      throw .capture()
    }
    unsafe SSL_set_bio(ssl, bio, bio)
    return unsafe wire
  }

  deinit {
    // OpenSSL doesn't resume a session that was not closed. TLS allows it (RFC 5246 7.2.1), unless
    // the session has failed.
    if case .client = role, state != .ended {
      unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
    }
    unsafe SSL_free(ssl)
    unsafe wire.deinitialize(count: 1)
    unsafe wire.deallocate()
  }

  /// Continues the handshake as far as `input` allows.
  public mutating func handshake(
    input: inout Span<UInt8>, output: inout OutputSpan<UInt8>
  ) throws(TLSFailure) -> HandshakeStep {
    switch state {
    case .handshaking: break
    case .established, .closing: return .complete
    case .ended: throw .ended
    }
    if case .server = role { try observe(input, output: &output) }
    let status = unsafe withWire(&input, &output) { ssl, wire in
      unsafe wire.pointee.allow(records: Self.recordsPerTurn)
      clearErrors()
      return unsafe SSL_do_handshake(ssl)
    }
    observedByteCount = input.count
    if status == 1 {
      state = .established
      settleRecordByteCount()
      return .complete
    }
    switch unsafe SSL_get_error(ssl, status) {
    case SSL_ERROR_WANT_READ: return input.isEmpty ? .wantsInput : .wantsTurn
    case SSL_ERROR_WANT_WRITE: return .wantsOutput
    case SSL_ERROR_ZERO_RETURN:
      state = .ended
      throw .peerClosed
    default:
      state = .ended
      let failure = failure()
      throw failure == .notTLS && opening.isRequestLine ? .plaintextHTTP : failure
    }
  }

  /// Why a call of OpenSSL has failed. A backend that fails gets a full handshake the next time.
  private func failure() -> TLSFailure {
    guard case .client(_, let slot) = role else { return .capture() }
    slot?.forget()
    return .capture(fromBackend: unsafe SSL_get_verify_result(ssl))
  }

  /// Checks the new bytes of the input, before OpenSSL allocates memory for what they announce.
  private mutating func observe(
    _ input: Span<UInt8>, output: inout OutputSpan<UInt8>
  ) throws(TLSFailure) {
    if unsafe SSL_version(ssl) == TLS1_2_VERSION { opening.end() }
    opening.observe(input.extracting(min(observedByteCount, input.count)...))
    guard opening.isTooLong else { return }
    state = .ended
    // A fatal alert: illegal_parameter, which OpenSSL uses for even longer messages.
    for byte in [21, 3, 3, 0, 2, 2, 47] as [UInt8] where output.freeCapacity > 0 {
      output.append(byte)
    }
    throw .helloTooLong
  }

  /// Decrypts until `input` is used up, `plaintext` is full, the client has closed, or
  /// `recordsPerTurn` records without data or `dataRecordsPerTurn` records with data were read.
  ///
  /// Plaintext that doesn't fit is kept; the next call returns it, with or without input. Protocol
  /// messages are appended to `output`, which should have `alertByteCount` bytes free.
  public mutating func read(
    input: inout Span<UInt8>, plaintext: inout OutputSpan<UInt8>,
    output: inout OutputSpan<UInt8>
  ) throws(TLSFailure) -> ReadStep {
    switch state {
    case .established, .closing: break
    case .handshaking, .ended: throw .ended
    }
    var controlCount = 0
    let step: ReadStep? = unsafe withWire(&input, &output) { ssl, wire in
      unsafe plaintext.withUnsafeMutableBufferPointer { target, count in
        unsafe Self.readRecords(ssl, wire, into: target, &count, &controlCount)
      }
    }
    controlRecordCount += controlCount
    if let step { return step }
    state = .ended
    throw failure()
  }

  /// How many records without data came since the last call. The caller decides which rate is too
  /// high, since it has a clock.
  @inline(__always)
  public mutating func takeControlRecordCount() -> Int {
    let count = controlRecordCount
    if count > 0 { controlRecordCount = 0 }
    return count
  }

  /// Encrypts as much of `plaintext` as is sure to fit into the free capacity of `output`, in
  /// records of 16 KiB. Returns the number of bytes: all of them, if `output` has
  /// `ciphertextByteCount(for:)` free. It may be 0.
  public mutating func write(
    _ plaintext: Span<UInt8>, output: inout OutputSpan<UInt8>
  ) throws(TLSFailure) -> Int {
    guard case .established = state else { throw .ended }
    let count = Self.fittingByteCount(
      of: plaintext.count, into: output.freeCapacity, recordByteCount: Int(recordByteCount))
    if count == 0 { return 0 }
    var none = Span<UInt8>()
    let written = unsafe withWire(&none, &output) { ssl, _ in
      unsafe plaintext.withUnsafeBufferPointer { source in
        // Its status alone says whether it failed. An older error in the queue could only give a
        // wrong reason, and clearing the queue here costs a large part of a small write.
        var written = 0
        return unsafe SSL_write_ex(ssl, source.baseAddress, count, &written) == 1 ? written : 0
      }
    }
    if written > 0 { return written }
    state = .ended
    throw .capture()
  }

  /// Ends the session as if the client had violated the protocol: appends a fatal alert. OpenSSL
  /// has no call for that, so it gets an invalid record, or an invalid end of the record that it
  /// has begun to read. The alert depends on which of the two.
  public mutating func fail(output: inout OutputSpan<UInt8>) {
    guard case .established = state else { return }
    state = .ended
    var none = Span<UInt8>()
    unsafe withWire(&none, &output) { ssl, wire in
      unsafe wire.pointee.giveNonsense()
      var byte: UInt8 = 0
      var taken = 0
      clearErrors()
      _ = unsafe SSL_read_ex(ssl, &byte, 1, &taken)
      clearErrors()
    }
  }

  /// Appends close_notify to `output`, once. Does nothing unless the session is established.
  public mutating func close(output: inout OutputSpan<UInt8>) {
    guard case .established = state else { return }
    state = .closing
    var none = Span<UInt8>()
    // The result only tells whether the client has sent close_notify, which doesn't matter here.
    _ = unsafe withWire(&none, &output) { ssl, _ in
      clearErrors()
      return unsafe SSL_shutdown(ssl)
    }
  }

  /// The free capacity with which `write` encrypts `plaintextByteCount` bytes at once. If the
  /// client asked for short records, `write` may still encrypt less.
  public static func ciphertextByteCount(for plaintextByteCount: Int) -> Int {
    let recordCount = (plaintextByteCount + recordByteCountMax - 1) / recordByteCountMax
    return plaintextByteCount + recordCount * recordOverhead + controlByteCount
  }

  static func fittingByteCount(of count: Int, into capacity: Int, recordByteCount: Int) -> Int {
    let room = capacity - controlByteCount
    if room <= recordOverhead { return 0 }
    let fullCount = room / (recordByteCount + recordOverhead)
    let rest = room - fullCount * (recordByteCount + recordOverhead)
    let full = fullCount * recordByteCount
    let fitting = full + max(0, rest - recordOverhead)
    if count <= fitting { return count }
    // Don't send a small record at the end of a full buffer: its bytes go into a whole record
    // later.
    return full > 0 ? full : fitting
  }
}

// The negotiated values. They are valid when the handshake is complete.
extension TLSSession {
  public var version: TLSVersion {
    unsafe SSL_version(ssl) == TLS1_2_VERSION ? .tls12 : .tls13
  }

  public var cipherSuite: CipherSuite {
    CipherSuite(code: unsafe SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)))
  }


  /// Whether this protocol was agreed on by ALPN (RFC 7301).
  public func speaks(_ name: StaticString) -> Bool {
    var start: UnsafePointer<UInt8>? = nil
    var count: UInt32 = 0
    unsafe SSL_get0_alpn_selected(ssl, &start, &count)
    guard let start = unsafe start, Int(count) == name.utf8CodeUnitCount else { return false }
    return unsafe memcmp(start, name.utf8Start, Int(count)) == 0
  }

  /// The same for a name that is not known in advance.
  public func speaks(_ name: Span<UInt8>) -> Bool {
    var start: UnsafePointer<UInt8>? = nil
    var count: UInt32 = 0
    unsafe SSL_get0_alpn_selected(ssl, &start, &count)
    guard let start = unsafe start, Int(count) == name.count else { return false }
    for index in name.indices where unsafe start[index] != name[index] { return false }
    return true
  }

  /// The protocol agreed on by ALPN; empty for none.
  public var protocolName: [UInt8] {
    var start: UnsafePointer<UInt8>? = nil
    var count: UInt32 = 0
    unsafe SSL_get0_alpn_selected(ssl, &start, &count)
    guard let start = unsafe start else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: start, count: Int(count)))
  }

  /// Whether the session was resumed by a ticket, without a full handshake.
  public var isResumed: Bool { unsafe SSL_session_reused(ssl) == 1 }

  /// Plaintext that `read` can return without new input.
  public var pendingByteCount: Int { unsafe Int(SSL_pending(ssl)) }

  /// The server name that the client asked for, as it was sent; empty if there was none.
  public var serverName: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      guard let name = unsafe SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else {
        return Span()
      }
      let bytes = unsafe UnsafeRawPointer(name).assumingMemoryBound(to: UInt8.self)
      let span = unsafe Span(_unsafeStart: bytes, count: strlen(name))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
}

extension TLSSession {
  /// Runs `body` with both buffers attached to the wire, and updates them for the bytes moved.
  @inline(__always)
  private func withWire<Result>(
    _ input: inout Span<UInt8>, _ output: inout OutputSpan<UInt8>,
    _ body: (OpaquePointer, UnsafeMutablePointer<Wire>) -> Result
  ) -> Result {
    var left = 0
    let result = unsafe input.withUnsafeBufferPointer { source in
      unsafe output.withUnsafeMutableBufferPointer { target, count in
        unsafe wire.pointee.attach(
          source, target.baseAddress.map { unsafe $0 + count }, room: target.count - count)
        let result = unsafe body(ssl, wire)
        left = unsafe wire.pointee.inputCount
        unsafe count += wire.pointee.written
        unsafe wire.pointee.detach()
        return result
      }
    }
    input = input.extracting(last: left)
    return result
  }

  /// Nil means that OpenSSL failed.
  @inline(__always)
  private static func readRecords(
    _ ssl: OpaquePointer, _ wire: UnsafeMutablePointer<Wire>,
    into target: UnsafeMutableBufferPointer<UInt8>, _ count: inout Int,
    _ controlCount: inout Int
  ) -> ReadStep? {
    var dataCount = 0
    while true {
      // Avoids a useless call of OpenSSL without input, at the end of every read.
      if unsafe wire.pointee.inputCount == 0 && SSL_pending(ssl) == 0 { return .wantsInput }
      if count == target.count { return .plaintextFull }
      var taken = 0
      let room = unsafe target.baseAddress.map { unsafe $0 + count }
      // One record at a time: a record with data would end the call anyway.
      unsafe wire.pointee.allow(records: 1)
      clearErrors()
      let status = unsafe SSL_read_ex(ssl, room, target.count - count, &taken)
      count += taken
      if status == 1 {
        dataCount &+= 1
        if dataCount == dataRecordsPerTurn { return .wantsTurn }
        continue
      }
      switch unsafe SSL_get_error(ssl, status) {
      case SSL_ERROR_WANT_READ:
        controlCount += unsafe wire.pointee.recordCount
        if unsafe wire.pointee.inputCount == 0 { return .wantsInput }
        if controlCount >= recordsPerTurn { return .wantsTurn }
      case SSL_ERROR_ZERO_RETURN: return .closed
      default: return nil
      }
    }
  }

  private mutating func settleRecordByteCount() {
    guard let session = unsafe SSL_get_session(ssl) else { return }
    // RFC 6066 4: 1 to 4 mean 512 to 4096 bytes, 0 means not negotiated.
    let code = unsafe Int(SSL_SESSION_get_max_fragment_length(session))
    if code > 0 { recordByteCount = 256 << code }
  }
}
