// Version 2 of the header, a binary block (2.2), and its TLVs.

import Primitives

extension ProxyHeader {
  /// `block` is the whole header, whose fixed part is valid.
  init(block: Span<UInt8>) throws(ProxyProtocolError) {
    // LOCAL: the family is ignored and the rest skipped, whatever it contains.
    if block[12] & 0xF == 0 {
      self.init(.v2, .local)
      return
    }
    guard let family = ProxyFamily(rawValue: block[13]) else { throw .unknownFamily }
    let start = Self.v2FixedByteCount
    let end = start + family.addressByteCount
    if end > block.count { throw .truncatedAddresses }
    self.init(.v2, Self.origin(in: block, from: start, family))
    var reader = TLVReader(end..<block.count)
    while let (type, value) = try reader.next(in: block) {
      try tlvs.take(type, value, of: block)
    }
  }

  private static func origin(
    in block: Span<UInt8>, from start: Int, _ family: ProxyFamily
  ) -> Origin {
    let sourcePort: UInt16
    let destinationPort: UInt16
    let source: IPAddress
    let destination: IPAddress
    switch family {
    case .unspecified: return .unknown
    case .tcp4, .udp4:
      source = IPAddress(v4: block.number32(at: start))
      destination = IPAddress(v4: block.number32(at: start + 4))
      sourcePort = block.number16(at: start + 8)
      destinationPort = block.number16(at: start + 10)
    case .tcp6, .udp6:
      source = IPAddress(high: block.number64(at: start), low: block.number64(at: start + 8))
      destination = IPAddress(
        high: block.number64(at: start + 16), low: block.number64(at: start + 24))
      sourcePort = block.number16(at: start + 32)
      destinationPort = block.number16(at: start + 34)
    case .unixStream, .unixDatagram:
      let middle = start + ProxyFamily.pathByteCount
      let end = middle + ProxyFamily.pathByteCount
      return .unix(
        source: start..<block.firstIndex(of: 0, in: start..<middle),
        destination: middle..<block.firstIndex(of: 0, in: middle..<end), family.carrier)
    }
    return .ip(
      source: Endpoint(source, sourcePort), destination: Endpoint(destination, destinationPort),
      family.carrier)
  }
}

/// Steps through a sequence of TLVs.
private struct TLVReader {
  private var rest: Range<Int>

  init(_ range: Range<Int>) { rest = range }

  /// The next TLV with the place of its value; nil at the end.
  mutating func next(
    in block: Span<UInt8>
  ) throws(ProxyProtocolError) -> (type: UInt8, value: Range<Int>)? {
    if rest.isEmpty { return nil }
    guard rest.count >= TLVType.headByteCount else { throw .truncatedTLV }
    let start = rest.lowerBound + TLVType.headByteCount
    let end = start + Int(block.number16(at: rest.lowerBound + 1))
    guard end <= rest.upperBound else { throw .truncatedTLV }
    let type = block[rest.lowerBound]
    rest = end..<rest.upperBound
    return (type, start..<end)
  }
}

extension ProxyTLVs {
  fileprivate mutating func take(
    _ type: UInt8, _ value: Range<Int>, of block: Span<UInt8>
  ) throws(ProxyProtocolError) {
    switch type {
    case TLVType.alpn: try set(&alpn, value)
    case TLVType.authority: try set(&authority, value)
    case TLVType.uniqueID:
      if value.count > Self.uniqueIDByteCountMax { throw .badTLV }
      try set(&uniqueID, value)
    case TLVType.namespace: try set(&namespace, value)
    case TLVType.checksum:
      if hasChecksum { throw .repeatedTLV }
      if value.count != 4 { throw .badTLV }
      let stated = block.number32(at: value.lowerBound)
      if CRC32C.checksum(block, zeroed: value) != stated { throw .badChecksum }
      hasChecksum = true
    case TLVType.tls:
      if tls != nil { throw .repeatedTLV }
      tls = try ProxyTLS(value, of: block)
    case TLVType.aws where value.count > 0 && block[value.lowerBound] == 1:
      try set(&awsEndpoint, value.dropFirst())
    case TLVType.azure where value.count > 0 && block[value.lowerBound] == 1:
      if azureLink != nil { throw .repeatedTLV }
      if value.count != 5 { throw .badTLV }
      // Little-endian (learn.microsoft.com/azure/private-link/private-link-service-overview).
      azureLink = block.number32(at: value.lowerBound + 1).byteSwapped
    default: break
    }
  }
}

private func set(
  _ place: inout Range<Int>?, _ value: Range<Int>
) throws(ProxyProtocolError) {
  if place != nil { throw .repeatedTLV }
  place = value
}

extension ProxyTLS {
  /// One byte of flags, four of the result of verification, then TLVs.
  fileprivate init(_ value: Range<Int>, of block: Span<UInt8>) throws(ProxyProtocolError) {
    guard value.count >= 5 else { throw .badTLV }
    let flags = block[value.lowerBound]
    isUsed = flags & 1 != 0
    hasCertificateOfConnection = flags & 2 != 0
    hasCertificateOfSession = flags & 4 != 0
    isVerified =
      flags & 6 != 0 && block.number32(at: value.lowerBound + 1) == 0
    var reader = TLVReader((value.lowerBound + 5)..<value.upperBound)
    while let (type, part) = try reader.next(in: block) {
      switch type {
      case TLVType.tlsVersion: try set(&version, part)
      case TLVType.tlsCommonName: try set(&commonName, part)
      case TLVType.tlsCipher: try set(&cipher, part)
      case TLVType.tlsSignatureAlgorithm: try set(&signatureAlgorithm, part)
      case TLVType.tlsKeyAlgorithm: try set(&keyAlgorithm, part)
      case TLVType.tlsGroup: try set(&group, part)
      case TLVType.tlsSignatureScheme: try set(&signatureScheme, part)
      case TLVType.tlsCertificate: try set(&certificate, part)
      default: break
      }
    }
  }
}
