// Why a certificate can't be used, with the file and what to do.
//
// Operators read these once, at a start or reload, so Strings are fine here.

/// An error in a chain file, in a key file, or in the combination.
public enum CertificateFailure: Error, Equatable, Sendable {
  case missingFile(path: String)
  /// The file exists and can't be read; `reason` is the system's text.
  case unreadableFile(path: String, reason: String)
  /// Nothing in the file is in PEM format.
  case notPEM(path: String)
  /// PEM, but damaged inside.
  case malformed(path: String)
  /// The chain file contains no certificate.
  case emptyChain(path: String)
  /// The key file contains no private key.
  case missingKey(path: String)
  /// The key has a pass phrase, which can't be entered.
  case encryptedKey(path: String)
  /// The key doesn't belong to the first certificate in the chain file.
  case keyMismatch(chainPath: String, keyPath: String)
  case unsupportedKeyType(path: String, type: String)
  case weakKey(path: String, type: String, minimum: String)
  /// OpenSSL refuses it for another reason, such as a SHA-1 signature.
  case refused(path: String, reason: String)
}

extension CertificateFailure {
  /// The file to fix. For two files that don't belong together, this is the key.
  public var path: String {
    switch self {
    case .missingFile(let path), .unreadableFile(let path, _), .notPEM(let path),
      .malformed(let path), .emptyChain(let path), .missingKey(let path), .encryptedKey(let path),
      .keyMismatch(_, let path), .unsupportedKeyType(let path, _), .weakKey(let path, _, _),
      .refused(let path, _):
      path
    }
  }
}

extension CertificateFailure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .missingFile(let path):
      "\(path) does not exist"
    case .unreadableFile(let path, let reason):
      "\(path) can't be read: \(reason)"
    case .notPEM(let path):
      "\(path) is not in PEM form (text with -----BEGIN ...----- lines)"
    case .malformed(let path):
      "\(path) is damaged: its PEM text doesn't decode"
    case .emptyChain(let path):
      "\(path) holds no certificate"
    case .missingKey(let path):
      "\(path) holds no private key"
    case .encryptedKey(let path):
      "\(path) is protected by a pass phrase; store the key without one and guard the file instead"
    case .keyMismatch(let chainPath, let keyPath):
      "the key in \(keyPath) doesn't belong to the first certificate in \(chainPath)"
    case .unsupportedKeyType(let path, let type):
      "\(path) holds a key of type \(type); use ECDSA on P-256 or P-384, RSA or Ed25519"
    case .weakKey(let path, let type, let minimum):
      "\(path) holds a key that is too weak: \(type), where \(minimum) is the least"
    case .refused(let path, let reason):
      "\(path) can't be served: \(reason)"
    }
  }
}
