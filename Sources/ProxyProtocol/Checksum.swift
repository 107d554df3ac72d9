// CRC32c (RFC 3309, Castagnoli), with which version 2 protects a header.

enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { index in
    var value = UInt32(index)
    for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    return value
  }

  /// The checksum of `bytes`, with zeros in place of those in `hole`.
  static func checksum(_ bytes: Span<UInt8>, zeroed hole: Range<Int>) -> UInt32 {
    var value = UInt32.max
    for index in 0..<bytes.count {
      let byte = hole.contains(index) ? 0 : bytes[index]
      value = value >> 8 ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)]
    }
    return ~value
  }
}
