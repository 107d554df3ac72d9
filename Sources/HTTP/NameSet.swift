// A set of field names that a peer chose, without regard to case.
//
// It holds hashes and no names, so that to ask and to enter cost the same however many there are.
// The hash is Swift's, with a key that is new in each process: nobody outside can find two names
// that it takes for one. Only for what is rare, since it allocates.

struct NameSet {
  private var hashes: Set<UInt64> = []

  var isEmpty: Bool { hashes.isEmpty }

  mutating func insert(_ name: Span<UInt8>) { hashes.insert(Self.hash(name)) }

  func contains(_ name: Span<UInt8>) -> Bool { hashes.contains(Self.hash(name)) }

  private static func hash(_ name: Span<UInt8>) -> UInt64 {
    var hasher = Hasher()
    var index = 0
    while index < name.count {
      // Eight bytes at a time; the length tells a short last word from one with zeros.
      var word: UInt64 = 0
      for byte in index..<min(index + 8, name.count) {
        word = word << 8 | UInt64(name[byte].lowercased)
      }
      hasher.combine(word)
      index += 8
    }
    hasher.combine(name.count)
    return UInt64(bitPattern: Int64(hasher.finalize()))
  }
}
