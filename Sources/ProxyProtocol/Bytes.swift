// Numbers and words in the bytes of a header.

import Primitives

extension Span where Element == UInt8 {
  /// Two and four bytes, the most significant first.
  func number16(at index: Int) -> UInt16 { UInt16(self[index]) << 8 | UInt16(self[index + 1]) }

  func number32(at index: Int) -> UInt32 {
    UInt32(number16(at: index)) << 16 | UInt32(number16(at: index + 2))
  }

  func number64(at index: Int) -> UInt64 {
    UInt64(number32(at: index)) << 32 | UInt64(number32(at: index + 4))
  }

  func equals(_ word: StaticString) -> Bool {
    let other = word.bytes
    guard count == other.count else { return false }
    for index in 0..<count where self[index] != other[index] { return false }
    return true
  }
}
