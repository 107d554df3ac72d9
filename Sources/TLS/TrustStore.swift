// The certificates of the authorities that backends are verified against.
//
// One store is shared by all contexts that use it, because the system's authorities take most of a
// megabyte. It is never changed: renewed files make another store.

import COpenSSL
import Glibc

/// Owner of a reference to an X509_STORE.
@safe public final class TrustStore: @unchecked Sendable {
  // Sendable because an X509_STORE has a lock of its own, and isn't changed after init.
  let store: OpaquePointer
  /// Differs for another content.
  public let fingerprint: [UInt8]

  /// Every certificate in the file (PEM, in any order) is trusted, also one that isn't a root, such
  /// as an intermediate one or that of the backend itself.
  public init(path: String) throws(CertificateFailure) {
    ERR_clear_error()
    let certificates = try CertificateChain(path: path)
    guard let store = unsafe X509_STORE_new() else {
      throw .refused(path: path, reason: "\(TLSFailure.capture())")
    }
    let isComplete = unsafe certificates.allSatisfy { unsafe X509_STORE_add_cert(store, $0) == 1 }
    guard isComplete, unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN)) == 1
    else {
      unsafe X509_STORE_free(store)
      throw .refused(path: path, reason: "\(TLSFailure.capture())")
    }
    unsafe self.store = store
    fingerprint = certificates.fingerprint
  }

  /// The authorities that the system trusts.
  public init() throws(TLSFailure) {
    ERR_clear_error()
    guard let store = unsafe X509_STORE_new() else { throw .capture() }
    if unsafe X509_STORE_set_default_paths(store) != 1 {
      unsafe X509_STORE_free(store)
      throw .capture()
    }
    // A missing file leaves an error in the queue.
    ERR_clear_error()
    unsafe self.store = store
    fingerprint = Self.systemPaths.flatMap { Self.mark(of: $0) }
  }

  deinit { unsafe X509_STORE_free(store) }

  /// Whether the system has any. Without them no certificate can be verified.
  public static var systemHasAuthorities: Bool { systemPaths.contains { !mark(of: $0).isEmpty } }

  /// A file and a directory, which OpenSSL also finds by variables of the environment.
  private static var systemPaths: [String] {
    unsafe [
      (X509_get_default_cert_file_env(), X509_get_default_cert_file()),
      (X509_get_default_cert_dir_env(), X509_get_default_cert_dir()),
    ].compactMap { variable, standard in
      let given = unsafe variable.flatMap { unsafe getenv($0) }.map { unsafe String(cString: $0) }
      return unsafe given ?? standard.map { unsafe String(cString: $0) }
    }
  }

  /// When a file or a directory was changed; empty if it doesn't exist.
  private static func mark(of path: String) -> [UInt8] {
    var status = stat()
    if unsafe stat(path, &status) != 0 { return [] }
    let time = status.st_mtim
    return Array("\(path) \(status.st_ino) \(time.tv_sec) \(time.tv_nsec) ".utf8)
  }
}
