// The protocol versions and cipher suites that a listener allows.
//
// There are two named policies instead of cipher strings: a list of ciphers in a configuration soon
// becomes outdated, and operators rarely update it. Both contain only AEAD suites with forward
// secrecy, so no padding oracles, no RSA key transport, no finite-field Diffie-Hellman.

import COpenSSL

/// The protocol versions that Martlet supports.
public enum TLSVersion: UInt8, Comparable, Sendable, CaseIterable {
  case tls12
  case tls13

  /// As in logs: `TLSv1.2`.
  public var name: StaticString {
    switch self {
    case .tls12: "TLSv1.2"
    case .tls13: "TLSv1.3"
    }
  }

  public static func < (left: TLSVersion, right: TLSVersion) -> Bool {
    left.rawValue < right.rawValue
  }

  /// The number on the wire.
  var code: Int32 {
    switch self {
    case .tls12: TLS1_2_VERSION
    case .tls13: TLS1_3_VERSION
    }
  }
}

/// Versions and cipher suites of one listener.
public struct TLSPolicy: Equatable, Sendable {
  /// A named set of cipher suites; the raw value is its name in the configuration.
  public enum Ciphers: String, Sendable, CaseIterable {
    /// TLS 1.3 only.
    case modern
    /// TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305: all clients since 2014.
    case intermediate
  }

  public var ciphers: Ciphers
  /// The configured minimum version; see `effectiveMinimum`.
  public var minimumVersion: TLSVersion
  /// Tickets sent after a full TLS 1.3 handshake; a resumed one gets one ticket. Range 0-2, default
  /// 2, since browsers open connections in pairs and use each ticket once (RFC 8446 C.4). 0
  /// disables resumption, also with TLS 1.2.
  public var ticketCount: Int

  public init(
    ciphers: Ciphers = .intermediate, minimumVersion: TLSVersion = .tls12, ticketCount: Int = 2
  ) {
    self.ciphers = ciphers
    self.minimumVersion = minimumVersion
    self.ticketCount = ticketCount
  }

  /// The lowest version that is negotiated: `modern` raises it to TLS 1.3.
  public var effectiveMinimum: TLSVersion {
    ciphers == .modern ? .tls13 : minimumVersion
  }

  /// Suites for TLS 1.2, best first: AES-128 is secure enough, and the fastest here.
  static let tls12Suites = """
    ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
    """
  static let tls13Suites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  /// X25519 first: nearly every client sends a key share for it in its first message.
  static let groups = "X25519:P-256:P-384"
}
