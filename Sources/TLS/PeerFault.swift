// Why we don't accept the certificate of a backend.

import COpenSSL

public enum PeerFault: UInt8, CaseIterable, Sendable {
  /// No trusted authority has signed it.
  case untrusted
  /// It has expired, or isn't valid yet. Or one of its issuers' certificates has.
  case expired
  /// It is for other names or addresses.
  case wrongName
  /// It, or the last of its chain, is signed by itself, and isn't trusted.
  case selfSigned
  /// Its key is none of the pinned ones.
  case pin

  /// What a context reports for a wrong key.
  static let pinError = X509_V_ERR_APPLICATION_VERIFICATION

  /// By OpenSSL's result of the verification.
  init(verification result: Int) {
    self =
      switch Int32(truncatingIfNeeded: result) {
      case X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID: .expired
      case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: .wrongName
      case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        .selfSigned
      case Self.pinError: .pin
      default: .untrusted
      }
  }

  /// For messages.
  public var text: StaticString {
    switch self {
    case .untrusted: "no trusted authority has signed its certificate"
    case .expired: "its certificate has expired or is not valid yet"
    case .wrongName: "its certificate is for another name"
    case .selfSigned: "its certificate is self-signed"
    case .pin: "its key is not pinned"
    }
  }
}
