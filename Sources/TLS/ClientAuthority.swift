// The authorities of client certificates, if clients must have one (RFC 8446 4.3.2).
//
// It only keeps unknown clients out; it doesn't identify clients.

import COpenSSL

/// A client must present a certificate that one of these authorities has signed, directly or
/// through intermediate certificates that the client sends.
@safe public final class ClientAuthority: @unchecked Sendable {
  // Sendable because the certificates are only read after init.
  private let certificates: CertificateChain

  /// Loads the authorities' certificates (PEM, in any order).
  public init(path: String) throws(CertificateFailure) {
    ERR_clear_error()
    certificates = try CertificateChain(path: path)
  }

  /// After this, every handshake with `context` requires such a certificate.
  func guardSessions(of context: OpaquePointer) throws(TLSFailure) {
    let store = unsafe SSL_CTX_get_cert_store(context)
    let isComplete = unsafe certificates.allSatisfy { certificate in
      unsafe X509_STORE_add_cert(store, certificate) == 1
        && SSL_CTX_add_client_CA(context, certificate) == 1
    }
    // An authority need not be a root: every certificate in the file is trusted.
    let flags = UInt(X509_V_FLAG_PARTIAL_CHAIN)
    guard isComplete, unsafe X509_STORE_set_flags(store, flags) == 1 else { throw .capture() }
    unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
  }
}
