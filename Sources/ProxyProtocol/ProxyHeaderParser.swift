// Reads a header at the beginning of a connection, as its bytes arrive. Each byte is looked at
// once, and once more when the header is complete.
//
// It never guesses: bytes that begin no header are an error. It takes exactly one header, and what
// follows it is the connection's.

public import Primitives

/// The state between two arrivals.
public struct ProxyHeaderParser: Equatable, Sendable {
  public enum Verdict: Equatable, Sendable {
    /// More bytes must come.
    case more
    /// The first `byteCount` bytes are this header.
    case header(ProxyHeader, byteCount: Int)
    case failed(ProxyProtocolError)
  }

  /// Bytes that are known to be the beginning of a header.
  private var checkedByteCount = 0

  public init() {}

  /// `bytes` is everything that has arrived, from the first byte of the connection on.
  public mutating func parse(_ bytes: Span<UInt8>) -> Verdict {
    guard bytes.count > 0 else { return .more }
    do throws(ProxyProtocolError) {
      let isV1 = bytes[0] == ProxyHeader.v1Signature.bytes[0]
      let byteCount = isV1 ? try findLine(in: bytes) : try findBlock(in: bytes)
      guard let byteCount else { return .more }
      let header = bytes.extracting(first: byteCount)
      return .header(
        isV1 ? try ProxyHeader(line: header) : try ProxyHeader(block: header),
        byteCount: byteCount)
    } catch {
      return .failed(error)
    }
  }

  public mutating func parse(_ buffer: borrowing ByteBuffer) -> Verdict { parse(buffer.bytes) }

  /// Continues to compare the beginning; true when it is complete.
  private mutating func checkSignature(
    _ signature: Span<UInt8>, _ bytes: Span<UInt8>
  ) throws(ProxyProtocolError) -> Bool {
    while checkedByteCount < min(signature.count, bytes.count) {
      if bytes[checkedByteCount] != signature[checkedByteCount] { throw .noHeader }
      checkedByteCount += 1
    }
    return checkedByteCount >= signature.count
  }

  /// The length of version 1 with CRLF; nil if its end has not come.
  private mutating func findLine(in bytes: Span<UInt8>) throws(ProxyProtocolError) -> Int? {
    guard try checkSignature(ProxyHeader.v1Signature.bytes, bytes) else { return nil }
    let end = min(bytes.count, ProxyHeader.lineByteCountMax)
    while checkedByteCount < end {
      let index = checkedByteCount
      if bytes[index] == 0x0A {
        // Only behind a carriage return.
        guard bytes[index - 1] == 0x0D else { throw .badLine }
        return index + 1
      }
      if bytes[index - 1] == 0x0D { throw .badLine }
      checkedByteCount += 1
    }
    if end == ProxyHeader.lineByteCountMax { throw .lineTooLong }
    return nil
  }

  /// The length of version 2; nil if it has not come as a whole. What is wrong in its fixed part is
  /// an error as soon as that byte is there.
  private mutating func findBlock(in bytes: Span<UInt8>) throws(ProxyProtocolError) -> Int? {
    guard try checkSignature(ProxyHeader.v2Signature.bytes, bytes) else { return nil }
    if bytes.count > 12 {
      if bytes[12] >> 4 != 2 { throw .unknownVersion }
      if bytes[12] & 0xF > 1 { throw .unknownCommand }
    }
    if bytes.count > 13, bytes[12] & 0xF == 1, ProxyFamily(rawValue: bytes[13]) == nil {
      throw .unknownFamily
    }
    guard bytes.count >= ProxyHeader.v2FixedByteCount else { return nil }
    let byteCount = ProxyHeader.v2FixedByteCount + Int(bytes.number16(at: 14))
    if byteCount > ProxyHeader.byteCountMax { throw .tooLarge }
    return bytes.count < byteCount ? nil : byteCount
  }
}

/// Address family and transport of version 2. All other values must be refused.
enum ProxyFamily: UInt8 {
  case unspecified = 0x00
  case tcp4 = 0x11
  case udp4 = 0x12
  case tcp6 = 0x21
  case udp6 = 0x22
  case unixStream = 0x31
  case unixDatagram = 0x32

  var addressByteCount: Int {
    switch self {
    case .unspecified: 0
    case .tcp4, .udp4: 12
    case .tcp6, .udp6: 36
    case .unixStream, .unixDatagram: 2 * Self.pathByteCount
    }
  }

  var carrier: ProxyHeader.Carrier {
    switch self {
    case .unspecified, .tcp4, .tcp6, .unixStream: .stream
    case .udp4, .udp6, .unixDatagram: .datagram
    }
  }

  /// Of `sun_path`. A path may fill it, so that it has no zero at its end.
  static var pathByteCount: Int { 108 }
}
