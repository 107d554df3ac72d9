// Why a session or a context failed. It is small, so it can be thrown, counted and logged at any
// rate.
//
// OpenSSL has a queue of errors per thread, and leaves errors there even when a call succeeds or
// wants more input. So the queue is cleared before each call whose result matters, and an error is
// read immediately after the call.

import COpenSSL

/// Why a session ended. `name` is for logs and metrics, `description` is text.
public enum TLSFailure: Error, Equatable, Sendable {
  /// The client sent plain HTTP to a TLS port; nothing was sent yet, so it can get an HTTP answer.
  case plaintextHTTP
  /// The first bytes are neither TLS nor HTTP.
  case notTLS
  /// The client offers no TLS version that the policy allows.
  case unsupportedProtocol
  /// Client and server have no common cipher suite, group or signature algorithm.
  case noSharedCipher
  /// The client offered application protocols (RFC 7301), but none that is supported.
  case noApplicationProtocol
  /// The client refused our certificate: alerts 42-46 and 48 (RFC 8446 6.2).
  case badCertificate
  /// The client sent another fatal alert, by its number.
  case peerAlert(UInt8)
  /// The client sent close_notify before the handshake was complete.
  case peerClosed
  /// The client announced a ClientHello above the limit.
  case helloTooLong
  /// The client sent more records without data than any real client.
  case recordFlood
  /// We refused the certificate of a backend.
  case peerRefused(PeerFault)
  /// The session had already failed, or was closed by us.
  case ended
  /// Any other error, by OpenSSL's packed error code; 0 when there is none.
  case other(code: UInt)

  /// The kind of failure. The raw value is the index of its counter.
  public enum Kind: UInt8, CaseIterable, Sendable {
    case plaintextHTTP, notTLS, unsupportedProtocol, noSharedCipher, noApplicationProtocol
    case badCertificate, peerAlert, peerClosed, helloTooLong, recordFlood, ended, other

    /// For logs and metrics.
    public var name: StaticString {
      switch self {
      case .plaintextHTTP: "plaintext-http"
      case .notTLS: "not-tls"
      case .unsupportedProtocol: "unsupported-protocol"
      case .noSharedCipher: "no-shared-cipher"
      case .noApplicationProtocol: "no-application-protocol"
      case .badCertificate: "bad-certificate"
      case .peerAlert: "peer-alert"
      case .peerClosed: "peer-closed"
      case .helloTooLong: "hello-too-long"
      case .recordFlood: "record-flood"
      case .ended: "ended"
      case .other: "other"
      }
    }
  }

  public var kind: Kind {
    switch self {
    case .plaintextHTTP: .plaintextHTTP
    case .notTLS: .notTLS
    case .unsupportedProtocol: .unsupportedProtocol
    case .noSharedCipher: .noSharedCipher
    case .noApplicationProtocol: .noApplicationProtocol
    case .badCertificate: .badCertificate
    case .peerAlert: .peerAlert
    case .peerClosed: .peerClosed
    case .helloTooLong: .helloTooLong
    case .recordFlood: .recordFlood
    case .ended: .ended
    // The counters by kind are those of clients.
    case .peerRefused, .other: .other
    }
  }

  public var name: StaticString { kind.name }

  /// Takes the oldest error of this thread's queue, which is the cause, and empties the queue.
  static func capture() -> TLSFailure {
    let code = ERR_peek_error()
    ERR_clear_error()
    guard ERR_GET_LIB(code) == ERR_LIB_SSL else { return .other(code: code) }
    let reason = ERR_GET_REASON(code)
    switch reason {
    case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST:
      return .plaintextHTTP
    case SSL_R_WRONG_VERSION_NUMBER:
      return .notTLS
    case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_UNKNOWN_PROTOCOL:
      return .unsupportedProtocol
    case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SHARED_GROUPS,
      SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,
      SSL_R_NO_CIPHERS_SPECIFIED:
      return .noSharedCipher
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return .noApplicationProtocol
    case alertBase + 42...alertBase + 46, alertBase + 48:
      return .badCertificate
    case alertBase...alertBase + 255:
      return .peerAlert(UInt8(truncatingIfNeeded: reason - alertBase))
    default:
      return .other(code: code)
    }
  }

  /// The same for a session with a backend. `verification` is OpenSSL's result.
  static func capture(fromBackend verification: Int) -> TLSFailure {
    let code = ERR_peek_error()
    let reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0
    if reason == SSL_R_CERTIFICATE_VERIFY_FAILED {
      ERR_clear_error()
      return .peerRefused(PeerFault(verification: verification))
    }
    // With its number, whatever it is.
    if (alertBase...alertBase + 255).contains(reason) {
      ERR_clear_error()
      return .peerAlert(UInt8(truncatingIfNeeded: reason - alertBase))
    }
    return capture()
  }

  /// The code of a received alert is this plus its number.
  private static let alertBase: Int32 = 1000
}

/// Empties this thread's queue of errors. A check first costs a third of clearing an empty queue.
@inline(__always)
func clearErrors() {
  if ERR_peek_error() != 0 { ERR_clear_error() }
}

extension TLSFailure: CustomStringConvertible {
  public var description: String {
    switch self {
    case .plaintextHTTP: "the client speaks plain HTTP on a TLS port"
    case .notTLS: "the client doesn't speak TLS"
    case .unsupportedProtocol: "the client offers no TLS version that is allowed here"
    case .noSharedCipher: "the client offers no cipher suite, group or signature that is used here"
    case .noApplicationProtocol: "the client offers no application protocol that is spoken here"
    case .badCertificate: "the client refused the certificate"
    case .peerAlert(let number): "the client sent the fatal alert \(number)"
    case .peerClosed: "the client closed the session during the handshake"
    case .helloTooLong: "the client announces a ClientHello that is too long"
    case .recordFlood: "the client floods the session with records without data"
    case .peerRefused(let fault): "\(fault.text)"
    case .ended: "the session had already ended"
    case .other(let code): "OpenSSL failed: \(Self.text(of: code))"
    }
  }

  /// OpenSSL's text for one of its error codes.
  static func text(of code: UInt) -> String {
    if code == 0 { return "no reason given" }
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      unsafe buffer.initialize(repeating: 0)
      unsafe ERR_error_string_n(code, buffer.baseAddress, buffer.count)
      return unsafe buffer.baseAddress.map { unsafe String(cString: $0) } ?? "no reason given"
    }
  }
}
