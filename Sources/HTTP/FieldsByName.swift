// The fields of a block by name, for a list of names that a peer chose, such as Connection.
//
// A head may contain many fields and a long list, so a loop over one for each entry of the other
// would be quadratic. The hash key is random per process, so that a peer can't find names that
// collide. It allocates, so it is used only for lists that contain unknown names.

import Primitives

struct FieldsByName {
  /// The first field of each chain, by hash; for each field the next one in its chain; -1 at the
  /// end.
  private var first: [Int32]
  private var next: [Int32]
  private let shift: UInt64

  /// Room for `count` fields.
  init(count: Int) {
    let bits = max(4, Int.bitWidth - count.leadingZeroBitCount + 1)
    first = Array(repeating: -1, count: 1 << bits)
    next = Array(repeating: -1, count: count)
    shift = UInt64(64 - bits)
  }

  mutating func insert(_ field: Int, named name: Span<UInt8>) {
    let slot = slot(name)
    next[field] = first[slot]
    first[slot] = Int32(field)
  }

  /// Removes and returns one field for which `isSame` returns true.
  mutating func take(_ name: Span<UInt8>, where isSame: (Int) -> Bool) -> Int? {
    let slot = slot(name)
    var previous: Int32 = -1
    var field = first[slot]
    while field >= 0 {
      if isSame(Int(field)) {
        let rest = next[Int(field)]
        if previous < 0 { first[slot] = rest } else { next[Int(previous)] = rest }
        return Int(field)
      }
      previous = field
      field = next[Int(field)]
    }
    return nil
  }

  private func slot(_ name: Span<UInt8>) -> Int {
    var hash = UInt64(name.count) ^ Self.key
    var index = 0
    while index < name.count {
      var word: UInt64 = 0
      for byte in index..<min(index + 8, name.count) {
        word = word << 8 | UInt64(name[byte].lowercased)
      }
      let product = (hash ^ word).multipliedFullWidth(by: Self.factor)
      hash = product.high ^ product.low ^ Self.key
      index += 8
    }
    return Int((hash &* Self.factor) >> shift)
  }

  private static let key = UInt64(bitPattern: Int64(Hasher().finalize()))
  private static let factor: UInt64 = {
    var hasher = Hasher()
    hasher.combine(1)
    return UInt64(bitPattern: Int64(hasher.finalize())) | 1
  }()
}
