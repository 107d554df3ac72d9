// A header of the PROXY protocol (haproxy.org/download/2.9/doc/proxy-protocol.txt): what a proxy
// writes before the first byte of a connection, to say where the connection comes from.
//
// Values only. ProxyHeaderParser reads them, ProxyHeaderWriter writes them.

public import Primitives

public struct ProxyHeader: Equatable, Sendable {
  public enum Version: Sendable {
    case v1, v2
  }

  /// What the header says about the ends of the connection.
  public enum Origin: Equatable, Sendable {
    /// LOCAL of version 2: the proxy itself has made the connection, as for a health check. The
    /// ends are those of the socket.
    case local
    /// UNKNOWN of version 1 and UNSPEC of version 2: the ends are those of the socket.
    case unknown
    case ip(source: Endpoint, destination: Endpoint, Carrier)
    /// The paths of Unix sockets, as places in the header, without the zeros behind them.
    case unix(source: Range<Int>, destination: Range<Int>, Carrier)
  }

  public struct Endpoint: Equatable, Sendable {
    public var address: IPAddress
    public var port: UInt16

    public init(_ address: IPAddress, _ port: UInt16) {
      self.address = address
      self.port = port
    }
  }

  /// What the client speaks with the proxy.
  public enum Carrier: Sendable {
    case stream, datagram
  }

  public var version: Version
  public var origin: Origin
  /// Empty in version 1 and with LOCAL.
  public var tlvs = ProxyTLVs()

  public init(_ version: Version, _ origin: Origin) {
    self.version = version
    self.origin = origin
  }

  /// The largest header that is read or written, as in nginx. Version 1 has at most 107 bytes.
  public static let byteCountMax = 4096
  public static let lineByteCountMax = 107

  static let v1Signature: StaticString = "PROXY "
  static let v2Signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
  /// The signature, version and command, family, and length.
  static let v2FixedByteCount = 16
}

/// The TLVs of a header as places of their values in it (2.2). All others are skipped.
public struct ProxyTLVs: Equatable, Sendable {
  /// The application protocol, as in ALPN.
  public var alpn: Range<Int>?
  /// The host name that the client has sent, as in SNI.
  public var authority: Range<Int>?
  /// The proxy's name for the connection, at most 128 bytes.
  public var uniqueID: Range<Int>?
  public var tls: ProxyTLS?
  /// The name of the network namespace.
  public var namespace: Range<Int>?
  /// The identifier of an endpoint of AWS PrivateLink, such as `vpce-08d2bf15fac5001c9`.
  public var awsEndpoint: Range<Int>?
  /// The link identifier of a private endpoint of Azure.
  public var azureLink: UInt32?
  /// Whether there was a checksum, which was correct.
  public var hasChecksum = false

  public init() {}

  public static let uniqueIDByteCountMax = 128
}

/// What the TLV of TLS says about the client's session with the proxy (2.2.6).
public struct ProxyTLS: Equatable, Sendable {
  /// Whether the client uses TLS.
  public var isUsed: Bool
  /// Whether the client has presented a certificate on this connection, or in this session.
  public var hasCertificateOfConnection: Bool
  public var hasCertificateOfSession: Bool
  /// The certificate was presented and verified.
  public var isVerified: Bool
  /// Such as `TLSv1.3`.
  public var version: Range<Int>?
  /// Common name of the client's certificate.
  public var commonName: Range<Int>?
  public var cipher: Range<Int>?
  public var signatureAlgorithm: Range<Int>?
  public var keyAlgorithm: Range<Int>?
  public var group: Range<Int>?
  public var signatureScheme: Range<Int>?
  /// The client's certificate in DER.
  public var certificate: Range<Int>?
}

/// The types of TLVs.
enum TLVType {
  static var alpn: UInt8 { 0x01 }
  static var authority: UInt8 { 0x02 }
  static var checksum: UInt8 { 0x03 }
  static var padding: UInt8 { 0x04 }
  static var uniqueID: UInt8 { 0x05 }
  static var tls: UInt8 { 0x20 }
  static var tlsVersion: UInt8 { 0x21 }
  static var tlsCommonName: UInt8 { 0x22 }
  static var tlsCipher: UInt8 { 0x23 }
  static var tlsSignatureAlgorithm: UInt8 { 0x24 }
  static var tlsKeyAlgorithm: UInt8 { 0x25 }
  static var tlsGroup: UInt8 { 0x26 }
  static var tlsSignatureScheme: UInt8 { 0x27 }
  static var tlsCertificate: UInt8 { 0x28 }
  static var namespace: UInt8 { 0x30 }
  static var aws: UInt8 { 0xEA }
  static var azure: UInt8 { 0xEE }

  /// Type and length.
  static var headByteCount: Int { 3 }
}
