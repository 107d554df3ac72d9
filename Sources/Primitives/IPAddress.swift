// IP addresses and socket addresses as values, parsed and printed without the C library. The pure
// targets need them for trusted proxies, ip-hash, forwarding fields and configuration.
//
// Parsing is strict: four decimal parts without leading zeros, RFC 4291 text for IPv6, no zone
// index. Printing follows RFC 5952.

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (::ffff:a.b.c.d) becomes the IPv4 address
/// when it is created, so that a client never has two identities.
public struct IPAddress: Hashable, Sendable {
  /// The address as IPv6, most significant half first; IPv4 addresses are in ::ffff:0:0/96.
  public let high: UInt64
  public let low: UInt64

  private static let mappedPrefix: UInt64 = 0xFFFF_0000_0000

  public init(v4 address: UInt32) {
    high = 0
    low = Self.mappedPrefix | UInt64(address)
  }

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  public var isV4: Bool { high == 0 && low >> 32 == 0xFFFF }
  /// The 32 bits of an IPv4 address, most significant byte first.
  public var v4: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// 127.0.0.0/8 and ::1.
  public var isLoopback: Bool { isV4 ? v4 >> 24 == 127 : self == .loopbackV6 }
  /// 169.254.0.0/16 and fe80::/10, which say nothing outside of their network.
  public var isLinkLocal: Bool { isV4 ? v4 >> 16 == 0xA9FE : high >> 54 == 0xFE80 >> 6 }

  public static let loopbackV4 = IPAddress(v4: 0x7F00_0001)
  public static let loopbackV6 = IPAddress(high: 0, low: 1)
  public static let anyV4 = IPAddress(v4: 0)
  public static let anyV6 = IPAddress(high: 0, low: 0)

  /// Parses `text` such as `192.0.2.1` or `2001:db8::1`; nil when it is anything else.
  public init?(_ text: Span<UInt8>) {
    if let address = Self.parseV4(text, 0..<text.count) {
      self.init(v4: address)
    } else if let (high, low) = Self.parseV6(text) {
      self.init(high: high, low: low)
    } else {
      return nil
    }
  }

  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    self.init(bytes.span)
  }

  private static func parseV4(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt32? {
    var address: UInt32 = 0
    var parts = 0
    var part: UInt32 = 0
    var digits = 0
    for index in range {
      let byte = text[index]
      if byte >= 0x30 && byte <= 0x39 {
        if digits > 0 && part == 0 { return nil }
        part = part * 10 + UInt32(byte - 0x30)
        digits += 1
        if part > 255 { return nil }
      } else if byte == 0x2E {
        if digits == 0 || parts == 3 { return nil }
        address = address << 8 | part
        parts += 1
        part = 0
        digits = 0
      } else {
        return nil
      }
    }
    return parts == 3 && digits > 0 ? address << 8 | part : nil
  }

  private static func parseV6(_ text: Span<UInt8>) -> (high: UInt64, low: UInt64)? {
    var groups = InlineArray<8, UInt16>(repeating: 0)
    var filled = 0
    /// The position of `::` among the groups.
    var gap: Int? = nil
    var index = 0
    let count = text.count
    if count < 2 { return nil }
    if text[0] == 0x3A {
      if text[1] != 0x3A { return nil }
      gap = 0
      index = 2
    }
    while index < count {
      if filled == 8 { return nil }
      var value: UInt32 = 0
      let groupStart = index
      while index < count, let digit = hexadecimalDigit(text[index]) {
        value = value << 4 | UInt32(digit)
        index += 1
        if index - groupStart > 4 { return nil }
      }
      if index < count && text[index] == 0x2E {
        // The last 32 bits may be written as IPv4.
        guard filled <= 6, let v4 = parseV4(text, groupStart..<count) else { return nil }
        groups[filled] = UInt16(truncatingIfNeeded: v4 >> 16)
        groups[filled + 1] = UInt16(truncatingIfNeeded: v4)
        filled += 2
        index = count
        break
      }
      if index == groupStart { return nil }
      groups[filled] = UInt16(truncatingIfNeeded: value)
      filled += 1
      if index == count { break }
      if text[index] != 0x3A { return nil }
      index += 1
      if index == count { return nil }
      if text[index] == 0x3A {
        if gap != nil { return nil }
        gap = filled
        index += 1
      }
    }
    if gap == nil ? filled != 8 : filled > 7 { return nil }
    if let gap {
      let moved = filled - gap
      for offset in 0..<moved {
        groups[7 - offset] = groups[filled - 1 - offset]
      }
      for zero in gap..<(8 - moved) { groups[zero] = 0 }
    }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for group in 0..<4 {
      high = high << 16 | UInt64(groups[group])
      low = low << 16 | UInt64(groups[group + 4])
    }
    return (high, low)
  }

  /// Appends the canonical text, without brackets.
  public func write(to output: inout ByteBuffer) {
    if isV4 {
      output.append(small: v4 >> 24)
      output.append(0x2E)
      output.append(small: v4 >> 16 & 0xFF)
      output.append(0x2E)
      output.append(small: v4 >> 8 & 0xFF)
      output.append(0x2E)
      output.append(small: v4 & 0xFF)
      return
    }
    let zeros = longestZeroRun()
    var group = 0
    while group < 8 {
      if group == zeros.start && zeros.count > 1 {
        output.append("::")
        group += zeros.count
        continue
      }
      if group > 0 && !(group == zeros.start + zeros.count && zeros.count > 1) {
        output.append(0x3A)
      }
      output.append(hexadecimal: UInt64(self.group(group)))
      group += 1
    }
  }

  private func group(_ index: Int) -> UInt16 {
    let half = index < 4 ? high : low
    return UInt16(truncatingIfNeeded: half >> UInt64((3 - index % 4) * 16))
  }

  private func longestZeroRun() -> (start: Int, count: Int) {
    var best = (start: 8, count: 0)
    var run = (start: 0, count: 0)
    for index in 0..<8 {
      if group(index) == 0 {
        if run.count == 0 { run.start = index }
        run.count += 1
        if run.count > best.count { best = run }
      } else {
        run.count = 0
      }
    }
    return best
  }
}

extension IPAddress: CustomStringConvertible {
  public var description: String {
    var buffer = ByteBuffer(capacity: 48)
    write(to: &buffer)
    return String(decoding: buffer)
  }
}

/// A block of addresses in CIDR notation, such as `10.0.0.0/8`. A single address is a block of one.
public struct AddressRange: Hashable, Sendable {
  private let high: UInt64
  private let low: UInt64
  private let highMask: UInt64
  private let lowMask: UInt64
  private let isV4: Bool

  /// Nil when the text isn't an address, when the length is out of range (0-32, 0-128), or when
  /// bits after the prefix are set, which is nearly always a mistake.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let first = parts.first, let address = IPAddress(String(first)) else {
      return nil
    }
    isV4 = address.isV4
    var length = 128
    if parts.count == 2 {
      let limit = address.isV4 ? 32 : 128
      guard parts[1].utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let given = Int(parts[1]),
        given <= limit
      else { return nil }
      length = address.isV4 ? 96 + given : given
    }
    highMask = length >= 64 ? .max : length == 0 ? 0 : .max << UInt64(64 - length)
    lowMask = length <= 64 ? 0 : .max << UInt64(128 - length)
    high = address.high
    low = address.low
    if high & highMask != high || low & lowMask != low { return nil }
  }

  /// An IPv6 range contains no IPv4 address, although ::/0 includes the mapped ones by its bits.
  public func contains(_ address: IPAddress) -> Bool {
    address.high & highMask == high && address.low & lowMask == low && address.isV4 == isV4
  }
}

extension AddressRange: CustomStringConvertible {
  /// CIDR notation, or the plain address if the block contains only one.
  public var description: String {
    let address = IPAddress(high: high, low: low)
    let length = highMask.nonzeroBitCount + lowMask.nonzeroBitCount
    if length == 128 { return "\(address)" }
    // A short prefix over zeros, as in ::/0, is IPv6 although some of its addresses are IPv4.
    return address.isV4 && length >= 96 ? "\(address)/\(length - 96)" : "\(address)/\(length)"
  }
}

/// The address on which a socket listens or to which it connects.
public enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
  case ip(IPAddress, port: UInt16)
  /// A Unix domain socket by path.
  case unix(String)

  public var description: String {
    switch self {
    case .ip(let address, let port):
      address.isV4 ? "\(address):\(port)" : "[\(address)]:\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }

  public var ip: IPAddress? {
    if case .ip(let address, _) = self { address } else { nil }
  }

  public var port: UInt16? {
    if case .ip(_, let port) = self { port } else { nil }
  }

  /// Whether two sockets with these addresses can't both listen, unless they share. Port 0 never
  /// overlaps, since the kernel chooses the port.
  public func overlaps(_ other: SocketAddress) -> Bool {
    switch (self, other) {
    case (.ip(let first, let firstPort), .ip(let second, let secondPort)):
      if firstPort != secondPort || firstPort == 0 || first.isV4 != second.isV4 { return false }
      return first == second || [first, second].contains(first.isV4 ? .anyV4 : .anyV6)
    case (.unix(let first), .unix(let second)): return first == second
    default: return false
    }
  }
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
  switch byte {
  case 0x30...0x39: byte - 0x30
  case 0x41...0x46: byte - 0x37
  case 0x61...0x66: byte - 0x57
  default: nil
  }
}
