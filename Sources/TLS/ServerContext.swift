// One SSL_CTX with all settings that don't depend on a listener.

import COpenSSL

/// Owner of an SSL_CTX, configured by a policy; certificates are added, one per key algorithm.
@safe final class ServerContext: @unchecked Sendable {
  // Sendable because an SSL_CTX counts its references atomically and isn't changed after set-up.
  let context: OpaquePointer

  /// How long a session can be resumed after its full handshake, in seconds. RFC 8446 allows a
  /// week; two hours limit the damage of a stolen ticket key. SessionStart enforces it.
  static let sessionLifetime = 7200

  init(policy: TLSPolicy) throws(TLSFailure) {
    guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { throw .capture() }
    unsafe self.context = context
    // Independent of the system's openssl.cnf: at least 112 bits, also in certificates.
    unsafe SSL_CTX_set_security_level(context, 2)
    unsafe martlet_SSL_CTX_set_server_options(context)
    // Release: an idle connection keeps no record buffers (about 34 KiB). No auto chain: otherwise
    // each handshake of a server without intermediates searches an empty trust store for them.
    unsafe martlet_SSL_CTX_set_mode(
      context, Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_NO_AUTO_CHAIN))
    unsafe martlet_SSL_CTX_set_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
    unsafe SSL_CTX_set_timeout(context, Self.sessionLifetime)
    if policy.ticketCount == 0 { unsafe martlet_SSL_CTX_refuse_tickets(context) }
    guard
      unsafe martlet_SSL_CTX_set_min_proto_version(context, policy.effectiveMinimum.code) == 1,
      unsafe SSL_CTX_set_cipher_list(context, TLSPolicy.tls12Suites) == 1,
      unsafe SSL_CTX_set_ciphersuites(context, TLSPolicy.tls13Suites) == 1,
      unsafe martlet_SSL_CTX_set1_groups_list(context, TLSPolicy.groups) == 1,
      unsafe SSL_CTX_set_num_tickets(context, min(max(policy.ticketCount, 0), 2)) == 1,
      // 0-RTT data can be replayed (RFC 8446 8), and backends don't expect that.
      unsafe SSL_CTX_set_max_early_data(context, 0) == 1
    else { throw .capture() }
  }

  deinit { unsafe SSL_CTX_free(context) }
}
