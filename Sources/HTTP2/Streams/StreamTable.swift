// The streams of one connection, by identifier.
//
// Slots are in one array and are reused; an index with open addressing leads to them. The
// identifiers of one side are consecutive odd numbers, so half an identifier is a hash without
// collisions, unless a stream is much older than the others. Without streams nothing is allocated.

struct StreamTable: ~Copyable {
  private var slots: [Stream] = []
  private var free: [UInt16] = []
  /// Slots by identifier; `none` for an empty entry. The size is a power of two and at least twice
  /// that of `slots`.
  private var index: [UInt16] = []
  private(set) var count = 0

  static let none = UInt16.max
  /// The maximum number of streams in a table.
  static let countMax = 16_384

  private static let firstCapacity = 8

  /// The memory of the table in bytes.
  var storedByteCount: Int {
    slots.capacity * MemoryLayout<Stream>.stride + (free.capacity + index.capacity) * 2
  }

  subscript(slot: UInt16) -> Stream {
    _read { yield slots[Int(slot)] }
    _modify { yield &slots[Int(slot)] }
  }

  /// Slots below this number may be in use; `isTaken` says which are.
  var slotCount: UInt16 { UInt16(slots.count) }

  func isTaken(_ slot: UInt16) -> Bool { find(slots[Int(slot)].id) == slot }

  func find(_ id: UInt32) -> UInt16? {
    if count == 0 { return nil }
    var place = Int(id >> 1) & (index.count - 1)
    while index[place] != Self.none {
      if slots[Int(index[place])].id == id { return index[place] }
      place = (place + 1) & (index.count - 1)
    }
    return nil
  }

  /// Inserts a stream. There must not be another one with the same identifier.
  mutating func insert(_ stream: Stream) -> UInt16 {
    precondition(count < Self.countMax, "more streams than a table holds")
    if free.isEmpty && (slots.count + 1) * 2 > index.count { grow() }
    let slot: UInt16
    if let recycled = free.popLast() {
      slot = recycled
      slots[Int(slot)] = stream
    } else {
      slot = UInt16(slots.count)
      slots.append(stream)
    }
    link(slot)
    count += 1
    return slot
  }

  mutating func remove(_ slot: UInt16) {
    var place = Int(slots[Int(slot)].id >> 1) & (index.count - 1)
    while index[place] != slot { place = (place + 1) & (index.count - 1) }
    // Closes the gap: later entries that could be nearer to their own position move up.
    var gap = place
    place = (place + 1) & (index.count - 1)
    while index[place] != Self.none {
      let home = Int(slots[Int(index[place])].id >> 1) & (index.count - 1)
      if (place &- home) & (index.count - 1) >= (place &- gap) & (index.count - 1) {
        index[gap] = index[place]
        gap = place
      }
      place = (place + 1) & (index.count - 1)
    }
    index[gap] = Self.none
    free.append(slot)
    count -= 1
  }

  /// Frees the memory when there are no streams and there were many.
  mutating func settle() {
    guard count == 0, !slots.isEmpty else { return }
    slots = []
    free = []
    index = []
  }

  private mutating func link(_ slot: UInt16) {
    var place = Int(slots[Int(slot)].id >> 1) & (index.count - 1)
    while index[place] != Self.none { place = (place + 1) & (index.count - 1) }
    index[place] = slot
  }

  private mutating func grow() {
    let capacity = max(Self.firstCapacity, slots.count * 2)
    slots.reserveCapacity(capacity)
    free.reserveCapacity(capacity)
    index = [UInt16](repeating: Self.none, count: capacity * 2)
    for slot in slots.indices { link(UInt16(slot)) }
  }
}
