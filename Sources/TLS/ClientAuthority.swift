// Whose certificates clients have to show, where they have to show one (RFC 8446 4.3.2).
//
// It only keeps strangers out: which of the clients it is that came isn't looked at.

import COpenSSL

/// The authorities of clients: a client must present a certificate that one of them has signed,
/// directly or by way of intermediate ones which it sends along.
@safe public final class ClientAuthority: @unchecked Sendable {
  // Sendable because the certificates are only read after init.
  private let certificates: CertificateChain

  /// Loads the authorities' certificates (PEM, in any order).
  public init(path: String) throws(CertificateFailure) {
    ERR_clear_error()
    certificates = try CertificateChain(path: path)
  }

  /// From now on no handshake under `context` succeeds without such a certificate.
  func guardSessions(of context: OpaquePointer) throws(TLSFailure) {
    let store = unsafe SSL_CTX_get_cert_store(context)
    let isComplete = unsafe certificates.allSatisfy { certificate in
      unsafe X509_STORE_add_cert(store, certificate) == 1
        && SSL_CTX_add_client_CA(context, certificate) == 1
    }
    // An authority need not be a root: what is named here is trusted.
    let flags = UInt(X509_V_FLAG_PARTIAL_CHAIN)
    guard isComplete, unsafe X509_STORE_set_flags(store, flags) == 1 else { throw .capture() }
    unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
  }
}
