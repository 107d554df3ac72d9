// Bodies in which every byte identifies its message.
//
// A byte depends on the message's key and on its own position. So bytes of another message, and
// lost, repeated or swapped bytes, are all detected, without a stored copy.

import Primitives

struct BodyPattern {
  let key: UInt64

  init(_ first: Int, _ second: Int = 0, _ third: Int = 0) {
    var key: UInt64 = 0x626F_6479
    for part in [first, second, third] {
      key = mix(key &* 3 &+ UInt64(bitPattern: Int64(part)))
    }
    self.key = key
  }

  private func word(at position: Int) -> UInt64 { mix(key &+ UInt64(position >> 3)) }

  func append(_ range: Range<Int>, to buffer: inout ByteBuffer) {
    buffer.reserve(range.count)
    buffer.fill { output in
      output.withUnsafeMutableBufferPointer { target, filled in
        var position = range.lowerBound
        while position < range.upperBound {
          // Whole words where possible, since a run spends most of its time here.
          if position & 7 == 0 && range.upperBound - position >= 8 {
            UnsafeMutableRawPointer(target.baseAddress! + filled)
              .storeBytes(of: word(at: position).littleEndian, as: UInt64.self)
            position += 8
            filled += 8
          } else {
            target[filled] = byte(at: position)
            position += 1
            filled += 1
          }
        }
      }
    }
  }

  /// The position of the first byte of `bytes` that differs from the pattern, when they begin at
  /// `offset`; nil if there is none.
  func mismatch(in bytes: Span<UInt8>, at offset: Int) -> Int? {
    bytes.withUnsafeBytes { source in
      var position = offset
      let end = offset + source.count
      while position < end {
        if position & 7 == 0 && end - position >= 8 {
          let found = source.loadUnaligned(fromByteOffset: position - offset, as: UInt64.self)
          if UInt64(littleEndian: found) == word(at: position) {
            position += 8
            continue
          }
        }
        if source[position - offset] != byte(at: position) { return position }
        position += 1
      }
      return nil
    }
  }

  private func byte(at position: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: word(at: position) >> UInt64((position & 7) * 8))
  }
}
