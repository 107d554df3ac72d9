// Integers with a prefix (RFC 7541 5.1): small ones fit into the low bits of a byte, larger ones
// continue in the bytes after it.
//
// Nothing in HTTP/2 needs more than 32 bits. So an integer with more than five further bytes is
// refused, even if it is small and has leading zeros.

import Primitives

enum PrefixInteger {
  private static let furtherByteMax = 5

  /// The integer whose prefix is the low `prefixBits` bits of `input[position]`, which must exist.
  /// Moves `position` to the byte after the integer.
  @inline(__always)
  static func decode(
    _ input: Span<UInt8>, _ position: inout Int, prefixBits: UInt8
  ) throws(HTTP2Error) -> Int {
    let mask = UInt8.max >> (8 - prefixBits)
    let prefix = input[position] & mask
    position += 1
    if prefix < mask { return Int(prefix) }
    return try decodeFurther(input, &position, Int(mask))
  }

  private static func decodeFurther(
    _ input: Span<UInt8>, _ position: inout Int, _ prefix: Int
  ) throws(HTTP2Error) -> Int {
    var value = prefix
    for step in 0..<furtherByteMax {
      guard position < input.count else { throw .truncatedFieldBlock }
      let byte = input[position]
      position += 1
      value += Int(byte & 0x7F) << (7 * step)
      if byte & 0x80 == 0 {
        guard value <= Int(UInt32.max) else { throw .badHPACKInteger }
        return value
      }
    }
    throw .badHPACKInteger
  }

  /// Appends `value`; `pattern` contains the bits above the prefix.
  @inline(__always)
  static func encode(
    _ value: Int, prefixBits: UInt8, pattern: UInt8, into output: inout ByteBuffer
  ) {
    let mask = Int(UInt8.max >> (8 - prefixBits))
    if value < mask { return output.append(pattern | UInt8(truncatingIfNeeded: value)) }
    output.append(pattern | UInt8(truncatingIfNeeded: mask))
    var rest = value - mask
    while rest >= 0x80 {
      output.append(UInt8(truncatingIfNeeded: rest & 0x7F) | 0x80)
      rest >>= 7
    }
    output.append(UInt8(truncatingIfNeeded: rest))
  }
}
