// The client side of a TLS session without I/O, for commands that query a running process.
//
// A command makes a few requests, so this copies and allocates freely. `TLSSession` serves traffic.

import COpenSSL

/// A session with a server whose certificate is verified. Use it from one thread only.
@safe public final class ClientSession {
  /// An error, as text.
  public struct Failure: Error, Sendable {
    public let message: String
  }

  private let ssl: OpaquePointer
  /// Memory BIOs, owned by the session: bytes from the server, and bytes for the server.
  private let incoming: OpaquePointer
  private let outgoing: OpaquePointer
  public private(set) var isEstablished = false

  /// A session with the server of this name or IP address. `authority` is a PEM file with trusted
  /// certificates, by default those of the system. `identity` is presented if the server asks for a
  /// certificate.
  public init(
    to server: String, trusting authority: String?, identity: Certificate?
  ) throws(Failure) {
    ERR_clear_error()
    guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw .lastError() }
    // The session keeps a reference.
    defer { unsafe SSL_CTX_free(context) }
    unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    let trusts =
      if let authority { unsafe SSL_CTX_load_verify_file(context, authority) } else {
        unsafe SSL_CTX_set_default_verify_paths(context)
      }
    if trusts != 1 { throw .lastError(authority ?? "the system's certificates") }
    do throws(TLSFailure) {
      try unsafe identity?.install(in: context)
    } catch {
      throw Failure(message: "\(error)")
    }
    guard let ssl = unsafe SSL_new(context) else { throw .lastError() }
    let memory = unsafe (BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()))
    guard let incoming = unsafe memory.0, let outgoing = unsafe memory.1 else {
      unsafe SSL_free(ssl)
      throw .lastError()
    }
    unsafe SSL_set_bio(ssl, incoming, outgoing)
    unsafe SSL_set_connect_state(ssl)
    unsafe self.ssl = ssl
    unsafe self.incoming = incoming
    unsafe self.outgoing = outgoing
    // An IP address is not sent as server name (RFC 6066 3), and is in another part of
    // certificates.
    if unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server) != 1 {
      ERR_clear_error()
      guard
        unsafe SSL_set1_host(ssl, server) == 1,
        unsafe martlet_SSL_set_tlsext_host_name(ssl, server) == 1
      else { throw .lastError(server) }
    }
  }

  deinit { unsafe SSL_free(ssl) }

  /// Handles bytes from the server (none at first), and returns the plaintext.
  public func receive(_ ciphertext: [UInt8]) throws(Failure) -> [UInt8] {
    if !ciphertext.isEmpty {
      unsafe BIO_write(incoming, ciphertext, Int32(ciphertext.count))
    }
    if !isEstablished {
      clearErrors()
      let status = unsafe SSL_do_handshake(ssl)
      if status != 1 {
        if unsafe SSL_get_error(ssl, status) == SSL_ERROR_WANT_READ { return [] }
        throw failure()
      }
      isEstablished = true
    }
    return try read()
  }

  private func read() throws(Failure) -> [UInt8] {
    var plaintext: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 16 * 1024)
    while true {
      var count = 0
      clearErrors()
      let status = unsafe SSL_read_ex(ssl, &block, block.count, &count)
      plaintext += block[..<count]
      if status == 1 { continue }
      switch unsafe SSL_get_error(ssl, status) {
      case SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN: return plaintext
      default: throw failure()
      }
    }
  }

  /// Encrypts; the handshake must be complete.
  public func write(_ plaintext: [UInt8]) throws(Failure) {
    var written = 0
    clearErrors()
    if unsafe SSL_write_ex(ssl, plaintext, plaintext.count, &written) != 1 { throw failure() }
  }

  /// The bytes for the server.
  public func takeCiphertext() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: unsafe BIO_ctrl_pending(outgoing))
    if bytes.isEmpty { return [] }
    let count = unsafe BIO_read(outgoing, &bytes, Int32(bytes.count))
    return Array(bytes[..<max(0, Int(count))])
  }

  private func failure() -> Failure {
    let verdict = unsafe SSL_get_verify_result(ssl)
    if verdict == X509_V_OK { return .lastError() }
    ERR_clear_error()
    let reason = unsafe X509_verify_cert_error_string(verdict).map { unsafe String(cString: $0) }
    return Failure(message: "its certificate isn't trusted: \(reason ?? "no reason given")")
  }
}

extension ClientSession.Failure {
  /// The oldest error in this thread's queue, which is the cause; empties the queue. If the server
  /// refused us, this is its alert, by its name in RFC 8446 6.
  fileprivate static func lastError(_ subject: String = "") -> Self {
    let code = ERR_peek_error()
    ERR_clear_error()
    let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
    let text = reason ?? "TLS failed, and no reason is given"
    return Self(message: subject.isEmpty ? text : "\(subject): \(text)")
  }
}
