// The cipher suites that a policy can negotiate, by their number on the wire.
//
// A fixed list with static names: the access log can write the suite of every request without a
// String and without a C string from OpenSSL.

/// A negotiated cipher suite.
public struct CipherSuite: Hashable, Sendable {
  /// The number in the IANA registry.
  public let code: UInt16

  public init(code: UInt16) { self.code = code }

  /// The name that OpenSSL and most logs use, such as `ECDHE-RSA-AES128-GCM-SHA256`.
  public var name: StaticString {
    switch code {
    case 0x1301: "TLS_AES_128_GCM_SHA256"
    case 0x1302: "TLS_AES_256_GCM_SHA384"
    case 0x1303: "TLS_CHACHA20_POLY1305_SHA256"
    case 0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256"
    case 0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384"
    case 0xC02F: "ECDHE-RSA-AES128-GCM-SHA256"
    case 0xC030: "ECDHE-RSA-AES256-GCM-SHA384"
    case 0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305"
    case 0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305"
    default: "unknown"
    }
  }
}
