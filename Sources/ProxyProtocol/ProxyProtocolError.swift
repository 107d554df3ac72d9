// Why the first bytes of a connection are not a valid header of the PROXY protocol, one case per
// reason. After any of them the connection must be closed: its sender is unknown.

public enum ProxyProtocolError: UInt8, Error, Equatable, Sendable, CaseIterable {
  /// The bytes begin no header of version 1 or 2.
  case noHeader
  // Version 1 (2.1).
  /// No end of the line within 107 bytes.
  case lineTooLong
  /// A carriage return or line feed alone, or not exactly one space between two words.
  case badLine
  /// Neither TCP4 nor TCP6 nor UNKNOWN.
  case unknownProtocol
  case badAddress, badPort
  // Version 2 (2.2).
  case unknownVersion, unknownCommand, unknownFamily
  /// Larger than `ProxyHeader.byteCountMax`.
  case tooLarge
  /// The addresses of the family are longer than the header.
  case truncatedAddresses
  /// A TLV is longer than what is left of the header.
  case truncatedTLV
  /// A TLV with a length or a value that its type doesn't allow.
  case badTLV
  /// Two TLVs of a type that may occur once.
  case repeatedTLV
  /// CRC32c doesn't match.
  case badChecksum

  /// For logs and metrics.
  public var name: StaticString {
    switch self {
    case .noHeader: "no-header"
    case .lineTooLong: "line-too-long"
    case .badLine: "bad-line"
    case .unknownProtocol: "unknown-protocol"
    case .badAddress: "bad-address"
    case .badPort: "bad-port"
    case .unknownVersion: "unknown-version"
    case .unknownCommand: "unknown-command"
    case .unknownFamily: "unknown-family"
    case .tooLarge: "too-large"
    case .truncatedAddresses: "truncated-addresses"
    case .truncatedTLV: "truncated-tlv"
    case .badTLV: "bad-tlv"
    case .repeatedTLV: "repeated-tlv"
    case .badChecksum: "bad-checksum"
    }
  }
}
