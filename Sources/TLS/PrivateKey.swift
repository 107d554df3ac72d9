// A server's private key, with checks that OpenSSL can serve it.

import COpenSSL

/// The kinds of keys that certificates may have. A context has at most one certificate per kind.
enum KeyType: Equatable {
  case rsa(bits: Int)
  case p256
  case p384
  case ed25519

  var name: String {
    switch self {
    case .rsa(let bits): "RSA \(bits)"
    case .p256: "ECDSA P-256"
    case .p384: "ECDSA P-384"
    case .ed25519: "Ed25519"
    }
  }

  /// OpenSSL stores one certificate for each of these, and picks one that the client can verify.
  var algorithm: Int {
    switch self {
    case .rsa: 0
    case .p256, .p384: 1
    case .ed25519: 2
    }
  }
}

/// Owner of a private key.
@safe struct PrivateKey: ~Copyable {
  /// EVP_PKEY *, owned.
  let key: OpaquePointer
  let type: KeyType
  let isWorldReadable: Bool
  let isWritableByOthers: Bool

  /// Shorter RSA keys have less than 112 bits of security (NIST SP 800-57), and clients refuse
  /// them.
  private static let rsaBitsMin = 2048

  init(path: String) throws(CertificateFailure) {
    let file = try PEMFile(path: path)
    if !file.hasPEMBlock { throw file.isEmpty ? .missingKey(path: path) : .notPEM(path: path) }
    if !file.contains("PRIVATE KEY-----") { throw .missingKey(path: path) }
    var isEncrypted = false
    let key = unsafe Self.read(file, &isEncrypted)
    guard let key = unsafe key else {
      ERR_clear_error()
      throw isEncrypted ? .encryptedKey(path: path) : .malformed(path: path)
    }
    // Decoders leave errors of failed attempts in the queue even when one succeeds.
    ERR_clear_error()
    do throws(CertificateFailure) {
      type = try unsafe Self.type(of: key, path: path)
    } catch {
      unsafe EVP_PKEY_free(key)
      throw error
    }
    isWorldReadable = file.isWorldReadable
    isWritableByOthers = file.isWritableByOthers
    unsafe self.key = key
  }

  deinit { unsafe EVP_PKEY_free(key) }

  private static func read(
    _ file: borrowing PEMFile, _ isEncrypted: inout Bool
  ) -> OpaquePointer? {
    unsafe withUnsafeMutablePointer(to: &isEncrypted) { asked in
      // OpenSSL asks for a pass phrase only if there is one. The answer is none.
      let answer: @convention(c) (
        UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?
      ) -> Int32 = { _, _, _, context in
        unsafe context?.assumingMemoryBound(to: Bool.self).pointee = true
        return -1
      }
      let found: OpaquePointer?? = unsafe file.withBIO { source in
        unsafe PEM_read_bio_PrivateKey(source, nil, answer, asked)
      }
      return unsafe found ?? nil
    }
  }

  private static func type(
    of key: OpaquePointer, path: String
  ) throws(CertificateFailure) -> KeyType {
    if unsafe EVP_PKEY_is_a(key, "RSA") == 1 {
      let bits = unsafe Int(EVP_PKEY_get_bits(key))
      if bits < rsaBitsMin {
        throw .weakKey(path: path, type: "RSA \(bits)", minimum: "RSA \(rsaBitsMin)")
      }
      return .rsa(bits: bits)
    }
    if unsafe EVP_PKEY_is_a(key, "ED25519") == 1 { return .ed25519 }
    if unsafe EVP_PKEY_is_a(key, "EC") == 1 {
      switch unsafe curve(of: key) {
      case "prime256v1": return .p256
      case "secp384r1": return .p384
      case let other: throw .unsupportedKeyType(path: path, type: "ECDSA \(other)")
      }
    }
    let name = unsafe EVP_PKEY_get0_type_name(key)
    throw .unsupportedKeyType(
      path: path, type: unsafe name.map { unsafe String(cString: $0) } ?? "unknown")
  }

  private static func curve(of key: OpaquePointer) -> String {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      unsafe buffer.initialize(repeating: 0)
      guard unsafe EVP_PKEY_get_group_name(key, buffer.baseAddress, buffer.count, nil) == 1,
        let name = buffer.baseAddress
      else {
        ERR_clear_error()
        return "with parameters of its own"
      }
      return unsafe String(cString: name)
    }
  }
}
