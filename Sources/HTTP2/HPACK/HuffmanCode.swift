// The Huffman code of RFC 7541 appendix B, both ways.
//
// The code is canonical: of the same length, codes grow with the symbols. So the lengths say it
// all, and the tables below are made of them at first use. What occurs in fields has codes of five
// to eight bits, which one look at a table of 256 entries decodes; longer codes are found by their
// length, in at most 22 steps. A code word that is not complete can only be the padding at the end:
// at most seven bits, all of them ones (RFC 7541 5.2).

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

  private struct Tables {
    /// By symbol, its code in the low bits.
    var codes = InlineArray<257, UInt32>(repeating: 0)
    /// By the next eight bits: the symbol in the low byte, its length above; 0 for a longer code.
    var short = InlineArray<256, UInt16>(repeating: 0)
    /// By length: the first code of that length, how many there are, and where the symbols of that
    /// length begin in `symbols`.
    var first = InlineArray<31, UInt32>(repeating: 0)
    var counts = InlineArray<31, UInt32>(repeating: 0)
    var starts = InlineArray<31, Int>(repeating: 0)
    var symbols = InlineArray<257, UInt16>(repeating: 0)

    init() {
      var code: UInt32 = 0
      var position = 0
      for length in 1...lengthMax {
        code <<= 1
        first[length] = code
        starts[length] = position
        for symbol in 0...endOfString where Int(lengths[symbol]) == length {
          codes[symbol] = code
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
    }
  }

  private static let tables = Tables()

  /// How many bytes `text` takes when it is encoded.
  static func encodedByteCount(_ text: Span<UInt8>) -> Int {
    var bits = 0
    for index in 0..<text.count { bits += Int(lengths[Int(text[index])]) }
    return (bits + 7) / 8
  }

  static func encode(_ text: Span<UInt8>, into output: inout ByteBuffer) {
    var bits: UInt64 = 0
    var count = 0
    for index in 0..<text.count {
      let symbol = Int(text[index])
      let length = Int(lengths[symbol])
      // At most 31 bits wait, so that 30 more fit.
      bits = bits << UInt64(length) | UInt64(tables.codes[symbol])
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

  /// Appends what `input` encodes.
  static func decode(_ input: Span<UInt8>, into output: inout ByteBuffer) throws(HTTP2Error) {
    var bits: UInt64 = 0
    /// How many of the low bits of `bits` wait to be decoded.
    var count = 0
    var position = 0
    while true {
      while count <= 48 && position < input.count {
        bits = bits << 8 | UInt64(input[position])
        count += 8
        position += 1
      }
      if count == 0 { return }
      // Beyond the end stand ones, as in the padding.
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
      guard let (symbol, long) = longCode(bits, count) else { throw .badHuffman }
      output.append(symbol)
      count -= long
    }
  }

  /// The symbol whose code of nine bits or more stands at the top of the `count` low bits of
  /// `bits`; nil when there is none, or it is the end of the string.
  private static func longCode(_ bits: UInt64, _ count: Int) -> (UInt8, Int)? {
    var length = 9
    while length <= min(lengthMax, count) {
      let code =
        UInt32(truncatingIfNeeded: bits >> UInt64(count - length)) & (1 << UInt32(length) - 1)
      let offset = code &- tables.first[length]
      if code >= tables.first[length] && offset < tables.counts[length] {
        let symbol = Int(tables.symbols[tables.starts[length] + Int(offset)])
        return symbol == endOfString ? nil : (UInt8(symbol), length)
      }
      length += 1
    }
    return nil
  }
}
