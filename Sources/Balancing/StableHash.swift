// The hash by which all nodes select the same member for the same key: version 1.
//
// It has a fixed seed, and its result never changes within a version: docs/operators has a table of
// results, and a test compares them. It is no secret, and no protection against chosen keys: a
// client that may choose its key can send all its requests to one member anyway.

import Primitives

/// A 64-bit hash of words and bytes.
struct StableHash {
  /// What is hashed. Different purposes give independent results.
  enum Purpose: UInt64 {
    case key = 0
    case offset = 1
    case skip = 2
    case level = 3
  }

  /// "maglev" and the version, above the purpose.
  private static let seed: UInt64 = 0x6D61_676C_6576_0100

  private var state: UInt64

  init(_ purpose: Purpose) { state = Self.seed | purpose.rawValue }

  mutating func add(_ word: UInt64) {
    state = mix((state ^ word) &+ 0x9E37_79B9_7F4A_7C15)
  }

  /// Eight bytes at a time, the first one lowest. The last word is filled with zeros, and the
  /// number of bytes follows.
  mutating func add(_ bytes: Span<UInt8>) {
    var word: UInt64 = 0
    var shift: UInt64 = 0
    for index in 0..<bytes.count {
      word |= UInt64(bytes[index]) << shift
      shift += 8
      if shift == 64 {
        add(word)
        (word, shift) = (0, 0)
      }
    }
    if shift != 0 { add(word) }
    add(UInt64(bytes.count))
  }

  /// Never 0, which means no key.
  var value: UInt64 { max(1, state) }
}
