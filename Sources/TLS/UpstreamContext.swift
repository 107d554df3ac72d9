// Everything that the sessions with the backends of one pool share: how their certificates are
// verified, our own certificate, the sessions to resume.
//
// Each worker has its own, since the cache of sessions has no lock.

import COpenSSL
import Primitives

/// The TLS part of a pool, for one worker.
@safe public final class UpstreamContext: @unchecked Sendable {
  // Sendable because it isn't changed after init, except for the cache, which one worker uses.

  /// What a backend must prove, and what it gets from us.
  public struct Policy: Sendable {
    /// Nil if certificates are not verified.
    public var trust: TrustStore?
    /// SHA-256 of public keys (SubjectPublicKeyInfo, RFC 7469 2.4), of which the backend must have
    /// one; empty if any key is allowed. They are checked in addition to `trust`.
    public var pins: [[UInt8]] = []
    /// Presented if a backend asks for a certificate.
    public var identity: Certificate?
    public var minimumVersion = TLSVersion.tls12
    /// Offered by ALPN, the preferred one first.
    public var protocols = ["http/1.1"]

    public init() {}
  }

  private let context: OpaquePointer
  private let verifies: Bool
  private let pins: [[UInt8]]
  private let sessions = SessionCache()

  public init(_ policy: Policy) throws(TLSFailure) {
    ERR_clear_error()
    guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw .capture() }
    unsafe self.context = context
    verifies = policy.trust != nil
    pins = policy.pins
    // Independent of the system's openssl.cnf, as for clients.
    unsafe SSL_CTX_set_security_level(context, 2)
    unsafe martlet_SSL_CTX_set_client_options(context)
    unsafe martlet_SSL_CTX_set_mode(
      context, Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_NO_AUTO_CHAIN))
    let offer = policy.protocols.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + $0.utf8 }
    guard
      unsafe martlet_SSL_CTX_set_min_proto_version(context, policy.minimumVersion.code) == 1,
      unsafe SSL_CTX_set_cipher_list(context, TLSPolicy.tls12Suites) == 1,
      unsafe SSL_CTX_set_ciphersuites(context, TLSPolicy.tls13Suites) == 1,
      unsafe martlet_SSL_CTX_set1_groups_list(context, TLSPolicy.groups) == 1,
      // 0 means success here.
      unsafe SSL_CTX_set_alpn_protos(context, offer, UInt32(offer.count)) == 0
    else { throw .capture() }
    try unsafe policy.identity?.install(in: context)
    if let trust = policy.trust { unsafe SSL_CTX_set1_cert_store(context, trust.store) }
    unsafe install(in: context)
  }

  deinit { unsafe SSL_CTX_free(context) }

  /// The callbacks get `self` unretained: sessions hold the context, so it outlives every call.
  private func install(in context: OpaquePointer) {
    let this = unsafe Unmanaged.passUnretained(self).toOpaque()
    // Also without verification: the callback decides, since pins are checked even then.
    unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    unsafe SSL_CTX_set_cert_verify_callback(
      context,
      { chain, this in
        guard let this = unsafe this, let chain = unsafe chain else { return 0 }
        let context = unsafe Unmanaged<UpstreamContext>.fromOpaque(this).takeUnretainedValue()
        return unsafe context.accepts(chain) ? 1 : 0
      }, this)
    unsafe martlet_SSL_CTX_set_session_cache_mode(
      context,
      Int(SSL_SESS_CACHE_CLIENT) | Int(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP)
        | Int(SSL_SESS_CACHE_NO_INTERNAL_STORE))
    unsafe SSL_CTX_sess_set_new_cb(context) { ssl, session in
      guard let slot = unsafe SSL_get_ex_data(ssl, UpstreamContext.exDataIndex),
        let session = unsafe session
      else { return 0 }
      unsafe Unmanaged<SessionSlot>.fromOpaque(slot).takeUnretainedValue().put(session)
      return 1
    }
  }

  /// Slot 0 is OpenSSL's slot for an application pointer (SSL_set_app_data).
  private static let exDataIndex: Int32 = 0

  /// Checks the certificate of a backend (X509_STORE_CTX *), and leaves the error there.
  private func accepts(_ chain: OpaquePointer) -> Bool {
    if verifies {
      if unsafe X509_verify_cert(chain) != 1 { return false }
    } else {
      unsafe X509_STORE_CTX_set_error(chain, X509_V_OK)
    }
    if pins.isEmpty { return true }
    if let certificate = unsafe X509_STORE_CTX_get0_cert(chain),
      pins.contains(unsafe publicKeyDigest(of: certificate))
    {
      return true
    }
    unsafe X509_STORE_CTX_set_error(chain, PeerFault.pinError)
    return false
  }

  /// A new SSL *, owned by the caller, and where its sessions are kept. The caller must keep both
  /// and `self` alive for as long. The backend at `address` must have a certificate for `name`, a
  /// host name or an IP address. Without `resumes` there is always a full handshake.
  func makeSession(
    to name: String, at address: SocketAddress, resumes: Bool
  ) throws(TLSFailure) -> (ssl: OpaquePointer, slot: SessionSlot?) {
    clearErrors()
    // Verification without a name would accept every certificate of the authority.
    if verifies && name.isEmpty { throw .peerRefused(.wrongName) }
    guard let ssl = unsafe SSL_new(context) else { throw .capture() }
    if !name.isEmpty, unsafe !Self.expect(name, from: ssl) {
      unsafe SSL_free(ssl)
      throw .capture()
    }
    if !resumes { return unsafe (ssl, nil) }
    let slot = sessions.slot(for: address, name: name)
    unsafe SSL_set_ex_data(ssl, Self.exDataIndex, Unmanaged.passUnretained(slot).toOpaque())
    unsafe slot.offer(to: ssl)
    return unsafe (ssl, slot)
  }

  /// Sets the name to send and to verify. The common name of a certificate doesn't count (RFC 9525
  /// 6.3), and an IP address is not sent (RFC 6066 3).
  private static func expect(_ name: String, from ssl: OpaquePointer) -> Bool {
    let parameters = unsafe SSL_get0_param(ssl)
    unsafe X509_VERIFY_PARAM_set_hostflags(
      parameters,
      UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT) | UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    if unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 { return true }
    ERR_clear_error()
    return unsafe X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1
      && martlet_SSL_set_tlsext_host_name(ssl, name) == 1
  }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
private func publicKeyDigest(of certificate: OpaquePointer) -> [UInt8] {
  let key = unsafe X509_get_X509_PUBKEY(certificate)
  let count = unsafe i2d_X509_PUBKEY(key, nil)
  guard count > 0 else { return [] }
  var bytes = [UInt8](repeating: 0, count: Int(count))
  unsafe bytes.withUnsafeMutableBufferPointer { target in
    var end = target.baseAddress
    _ = unsafe i2d_X509_PUBKEY(key, &end)
  }
  let digest = sha256(bytes)
  return digest.indices.map { digest[$0] }
}
