// The members that an exchange has tried already, so that it tries others first.

/// The ids of the backends that an exchange has tried: a few, in a pool of any size.
struct TriedSet: Sendable {
  /// The same as the maximum of `RetryPolicy.maxAttemptsRange`; a further one replaces the first.
  static let capacity = 8

  private var ids = InlineArray<8, Int>(repeating: -1)
  private var count = 0
  /// A bit for each position in `ids`: whether another attempt there would fail again.
  private var spentPlaces: UInt8 = 0

  var isEmpty: Bool { count == 0 }

  func contains(_ id: Int) -> Bool {
    for index in 0..<min(count, Self.capacity) where ids[index] == id { return true }
    return false
  }

  mutating func insert(_ id: Int) {
    if contains(id) { return }
    ids[count % Self.capacity] = id
    spentPlaces &= ~(1 << (count % Self.capacity))
    count += 1
  }

  mutating func spend(_ id: Int) {
    for index in 0..<min(count, Self.capacity) where ids[index] == id { spentPlaces |= 1 << index }
  }

  /// Only the spent ones.
  var spent: TriedSet {
    var result = TriedSet()
    for index in 0..<min(count, Self.capacity) where spentPlaces & 1 << index != 0 {
      result.insert(ids[index])
    }
    return result
  }
}
