// Writes headers of both versions, and LOCAL of version 2.
//
// A connection's header must be sent by one write, before anything else.

public import Primitives

/// What a header of version 2 can say beside the addresses. Nil and empty values are left out.
public struct OutgoingTLVs: Equatable, Sendable {
  public var alpn: [UInt8] = []
  public var authority: [UInt8] = []
  public var uniqueID: [UInt8] = []
  public var tls: OutgoingTLS?
  public var hasChecksum = false

  public init() {}
}

/// The client's TLS session. Clients present no certificates.
public struct OutgoingTLS: Equatable, Sendable {
  /// Such as `TLSv1.3`.
  public var version: [UInt8]
  public var cipher: [UInt8]

  public init(version: [UInt8], cipher: [UInt8]) {
    self.version = version
    self.cipher = cipher
  }
}

public enum ProxyHeaderWriter {
  /// Version 1. Anything but two IP addresses is UNKNOWN.
  public static func writeLine(
    source: SocketAddress?, destination: SocketAddress?, into output: inout ByteBuffer
  ) {
    guard case .ip(let from, let fromPort) = source, case .ip(let to, let toPort) = destination
    else { return output.append("PROXY UNKNOWN\r\n") }
    let isV4 = from.isV4 && to.isV4
    output.append(isV4 ? "PROXY TCP4 " : "PROXY TCP6 ")
    write(from, isV4: isV4, to: &output)
    output.append(0x20)
    write(to, isV4: isV4, to: &output)
    output.append(0x20)
    output.append(decimal: UInt64(fromPort))
    output.append(0x20)
    output.append(decimal: UInt64(toPort))
    output.append("\r\n")
  }

  /// With an IPv6 address at the other end, an IPv4 address is written as a mapped one.
  private static func write(_ address: IPAddress, isV4: Bool, to output: inout ByteBuffer) {
    if address.isV4 && !isV4 { output.append("::ffff:") }
    address.write(to: &output)
  }

  /// LOCAL: the connection is the sender's own.
  public static func writeLocal(into output: inout ByteBuffer) {
    output.append(ProxyHeader.v2Signature.bytes)
    output.append(0x20)
    output.append(ProxyFamily.unspecified.rawValue)
    append(0 as UInt16, to: &output)
  }

  /// Version 2. Two addresses that are neither both IP nor both paths are UNSPEC. A TLV that
  /// doesn't fit into the largest header is left out; the checksum always fits.
  public static func writeBlock(
    source: SocketAddress?, destination: SocketAddress?, _ tlvs: OutgoingTLVs,
    _ carrier: ProxyHeader.Carrier = .stream, into output: inout ByteBuffer
  ) {
    let start = output.count
    output.append(ProxyHeader.v2Signature.bytes)
    output.append(0x21)
    writeAddresses(source, destination, carrier, to: &output)
    let checksumByteCount = tlvs.hasChecksum ? TLVType.headByteCount + 4 : 0
    let end = start + ProxyHeader.byteCountMax - checksumByteCount
    append(TLVType.alpn, tlvs.alpn, to: &output, end)
    append(TLVType.authority, tlvs.authority, to: &output, end)
    if tlvs.uniqueID.count <= ProxyTLVs.uniqueIDByteCountMax {
      append(TLVType.uniqueID, tlvs.uniqueID, to: &output, end)
    }
    if let tls = tlvs.tls {
      // Flags, and the result of verification: not 0, since no certificate was verified.
      var value: [UInt8] = [1, 0, 0, 0, 1]
      append(TLVType.tlsVersion, tls.version, to: &value)
      append(TLVType.tlsCipher, tls.cipher, to: &value)
      append(TLVType.tls, value, to: &output, end)
    }
    if tlvs.hasChecksum {
      append(TLVType.checksum, [0, 0, 0, 0], to: &output, start + ProxyHeader.byteCountMax)
    }
    let length = output.count - start - ProxyHeader.v2FixedByteCount
    set(UInt32(length) << 16, byteCount: 2, at: start + 14, in: &output)
    if tlvs.hasChecksum {
      let place = output.count - 4
      let checksum = checksum(
        of: output, from: start, zeroed: (place - start)..<(place - start + 4))
      set(checksum, byteCount: 4, at: place, in: &output)
    }
  }

  private static func checksum(
    of output: borrowing ByteBuffer, from start: Int, zeroed hole: Range<Int>
  ) -> UInt32 {
    CRC32C.checksum(output.bytes.extracting(start..<output.count), zeroed: hole)
  }

  /// Family, a length of zero to be set later, and addresses.
  private static func writeAddresses(
    _ source: SocketAddress?, _ destination: SocketAddress?, _ carrier: ProxyHeader.Carrier,
    to output: inout ByteBuffer
  ) {
    switch (source, destination) {
    case (.ip(let from, let fromPort), .ip(let to, let toPort)):
      let isV4 = from.isV4 && to.isV4
      let family: ProxyFamily =
        switch carrier {
        case .stream: isV4 ? .tcp4 : .tcp6
        case .datagram: isV4 ? .udp4 : .udp6
        }
      output.append(family.rawValue)
      append(0 as UInt16, to: &output)
      for address in [from, to] {
        if !isV4 {
          append(address.high, to: &output)
          append(address.low >> 32, byteCount: 4, to: &output)
        }
        append(address.low, byteCount: 4, to: &output)
      }
      append(fromPort, to: &output)
      append(toPort, to: &output)
    case (.unix(let from), .unix(let to)):
      output.append(ProxyFamily.unixStream.rawValue)
      append(0 as UInt16, to: &output)
      for path in [from, to] {
        var count = 0
        for byte in path.utf8.prefix(ProxyFamily.pathByteCount) {
          output.append(byte)
          count += 1
        }
        for _ in count..<ProxyFamily.pathByteCount { output.append(0) }
      }
    default:
      output.append(ProxyFamily.unspecified.rawValue)
      append(0 as UInt16, to: &output)
    }
  }

  private static func append(
    _ type: UInt8, _ value: [UInt8], to output: inout ByteBuffer, _ end: Int
  ) {
    guard !value.isEmpty, output.count + TLVType.headByteCount + value.count <= end else { return }
    output.append(type)
    append(UInt16(value.count), to: &output)
    output.append(value.span)
  }

  private static func append(_ type: UInt8, _ value: [UInt8], to bytes: inout [UInt8]) {
    if value.isEmpty { return }
    bytes += [type, UInt8(truncatingIfNeeded: value.count >> 8)]
    bytes.append(UInt8(truncatingIfNeeded: value.count))
    bytes += value
  }

  private static func append(_ number: UInt16, to output: inout ByteBuffer) {
    append(UInt64(number), byteCount: 2, to: &output)
  }

  private static func append(
    _ number: UInt64, byteCount: Int = 8, to output: inout ByteBuffer
  ) {
    for place in (0..<byteCount).reversed() {
      output.append(UInt8(truncatingIfNeeded: number >> UInt64(place * 8)))
    }
  }

  /// Overwrites `byteCount` bytes with the most significant ones of `number`.
  private static func set(
    _ number: UInt32, byteCount: Int, at place: Int, in output: inout ByteBuffer
  ) {
    var bytes = output.mutableBytes
    for index in 0..<byteCount {
      bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index))
    }
  }
}
