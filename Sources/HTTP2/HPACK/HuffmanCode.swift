// The Huffman code of RFC 7541 appendix B, both ways.
//
// The code is canonical: codes of equal length are in the order of their symbols. So the lengths
// define the whole code, and the tables below are computed from them at first use. Common
// characters have codes of five to eight bits, which one lookup in a table of 256 entries decodes.
// Longer codes are found by their length, in at most 22 steps. An incomplete code can only be the
// padding at the end: at most seven bits, all ones (RFC 7541 5.2).

import Primitives

enum HuffmanCode {
  private static let endOfString = 256

  /// The code's length in bits for each byte, and for the end of the string.
  private static let lengths: InlineArray<257, UInt8> = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
  ]

  private static let lengthMax = 30

  /// A class, because a borrowed array of this size would be copied, and a reference is not.
  private final class Tables: Sendable {
    /// By symbol: its code in the low bits, its length above.
    let codes: InlineArray<257, UInt64>
    /// By the next eight bits: the symbol in the low byte, its length above; 0 for a longer code.
    let short: InlineArray<256, UInt16>
    /// By length: the first code of that length, their number, and where the symbols of that length
    /// begin in `symbols`.
    let first: InlineArray<31, UInt32>
    let counts: InlineArray<31, UInt32>
    let starts: InlineArray<31, Int>
    let symbols: InlineArray<257, UInt16>

    init() {
      var codes = InlineArray<257, UInt64>(repeating: 0)
      var short = InlineArray<256, UInt16>(repeating: 0)
      var first = InlineArray<31, UInt32>(repeating: 0)
      var counts = InlineArray<31, UInt32>(repeating: 0)
      var starts = InlineArray<31, Int>(repeating: 0)
      var symbols = InlineArray<257, UInt16>(repeating: 0)
      var code: UInt32 = 0
      var position = 0
      for length in 1...lengthMax {
        code <<= 1
        first[length] = code
        starts[length] = position
        for symbol in 0...endOfString where Int(lengths[symbol]) == length {
          codes[symbol] = UInt64(code) | UInt64(length) << 32
          symbols[position] = UInt16(symbol)
          if length <= 8 {
            let start = Int(code) << (8 - length)
            for bits in start..<(start + 1 << (8 - length)) {
              short[bits] = UInt16(symbol) | UInt16(length) << 8
            }
          }
          position += 1
          code += 1
        }
        counts[length] = code - first[length]
      }
      self.codes = codes
      self.short = short
      self.first = first
      self.counts = counts
      self.starts = starts
      self.symbols = symbols
    }
  }

  private static let tables = Tables()

  /// The length of `text` in bytes after encoding.
  static func encodedByteCount(_ text: Span<UInt8>) -> Int {
    var bits = 0
    for index in 0..<text.count { bits += Int(lengths[Int(text[index])]) }
    return (bits + 7) / 8
  }

  /// Appends `text` encoded; `byteCount` is the result of `encodedByteCount`.
  static func encode(_ text: Span<UInt8>, byteCount: Int, into output: inout ByteBuffer) {
    output.reserve(byteCount)
    output.fill { room in encode(text, into: &room, tables) }
  }

  /// `tables` is an argument, since each access to a global costs a check.
  private static func encode(
    _ text: Span<UInt8>, into output: inout OutputSpan<UInt8>, _ tables: Tables
  ) {
    var bits: UInt64 = 0
    var count = 0
    for index in 0..<text.count {
      let entry = tables.codes[Int(text[index])]
      let length = Int(entry >> 32)
      // At most 31 bits are pending, so 30 more fit.
      bits = bits << UInt64(length) | (entry & 0xFFFF_FFFF)
      count += length
      while count >= 8 {
        count -= 8
        output.append(UInt8(truncatingIfNeeded: bits >> UInt64(count)))
      }
    }
    if count > 0 {
      let padding = UInt8.max >> UInt8(count)
      output.append(UInt8(truncatingIfNeeded: bits << UInt64(8 - count)) | padding)
    }
  }

  /// Appends the decoded `input`.
  static func decode(_ input: Span<UInt8>, into output: inout ByteBuffer) throws(HTTP2Error) {
    // No code is shorter than five bits.
    output.reserve(input.count * 8 / 5 + 1)
    try output.fill { (room: inout OutputSpan<UInt8>) throws(HTTP2Error) in
      try decode(input, into: &room, tables)
    }
  }

  private static func decode(
    _ input: Span<UInt8>, into output: inout OutputSpan<UInt8>, _ tables: Tables
  ) throws(HTTP2Error) {
    var bits: UInt64 = 0
    /// How many of the low bits of `bits` are not yet decoded.
    var count = 0
    var position = 0
    while true {
      if count < 32 {
        // Four bytes at a time, and single bytes at the end.
        if input.count - position >= 4 {
          bits = bits << 32 | UInt64(input.bigEndian(at: position))
          count += 32
          position += 4
        } else {
          while position < input.count {
            bits = bits << 8 | UInt64(input[position])
            count += 8
            position += 1
          }
        }
      }
      // With 30 bits the next code is complete, so no other check is needed.
      while count >= 30 {
        let next = UInt8(truncatingIfNeeded: bits >> UInt64(count - 8))
        let entry = tables.short[Int(next)]
        if entry != 0 {
          output.append(UInt8(truncatingIfNeeded: entry))
          count -= Int(entry >> 8)
        } else {
          guard let (symbol, long) = longCode(bits, count, tables) else { throw .badHuffman }
          output.append(symbol)
          count -= long
        }
      }
      if position == input.count { break }
    }
    while count > 0 {
      // Ones follow the end, as in the padding.
      let next =
        count >= 8
        ? UInt8(truncatingIfNeeded: bits >> UInt64(count - 8))
        : UInt8(truncatingIfNeeded: bits << UInt64(8 - count)) | UInt8.max >> UInt8(count)
      let entry = tables.short[Int(next)]
      let length = Int(entry >> 8)
      if length > 0 && length <= count {
        output.append(UInt8(truncatingIfNeeded: entry))
        count -= length
        continue
      }
      if count < 8 {
        guard next == .max else { throw .badHuffman }
        return
      }
      guard let (symbol, long) = longCode(bits, count, tables) else { throw .badHuffman }
      output.append(symbol)
      count -= long
    }
  }

  /// The symbol whose code of nine bits or more is at the top of the `count` low bits of `bits`;
  /// nil when there is none, or when it is the end of the string.
  private static func longCode(
    _ bits: UInt64, _ count: Int, _ tables: Tables
  ) -> (UInt8, Int)? {
    var length = 9
    while length <= min(lengthMax, count) {
      let code =
        UInt32(truncatingIfNeeded: bits >> UInt64(count - length)) & (1 << UInt32(length) - 1)
      let (first, number) = (tables.first[length], tables.counts[length])
      let offset = code &- first
      if code >= first && offset < number {
        let symbol = Int(tables.symbols[tables.starts[length] + Int(offset)])
        return symbol == endOfString ? nil : (UInt8(symbol), length)
      }
      length += 1
    }
    return nil
  }
}
