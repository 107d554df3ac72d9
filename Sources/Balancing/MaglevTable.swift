// The lookup table of Maglev (Eisenbud and others, Maglev: A Fast and Reliable Software Network
// Load Balancer, 2016, section 3.4): which member each hash belongs to.
//
// Each member has a permutation of the slots, from the hash of its id. The members take turns: each
// claims the next slot of its permutation that is free. A member of half the weight takes every
// second turn. So all nodes with the same ids and weights have the same table, and a change of one
// member moves few slots of the others. It is built on the control thread, once for a version of
// the members, and read by all workers. Health is not in it.

/// One table, 128 KiB.
final class MaglevTable: Sendable {
  /// Prime, so that every step width visits all slots. At most a hundredth of it is the number of
  /// members up to which shares are right within about a percent.
  static let slotCount = 65_537

  /// A member, as all nodes know it.
  struct Entry: Hashable, Sendable {
    let id: [UInt8]
    let weight: Int
  }

  /// In bytewise order of the ids.
  let entries: [Entry]
  /// The position of an entry for each slot; empty without members.
  private let slots: [UInt16]

  /// `entries` must be in bytewise order. Those with weight 0 get no slot. If there are more than
  /// slots, the last ones get none.
  init(_ entries: [Entry]) {
    self.entries = entries
    slots = Self.fill(entries)
  }

  var isEmpty: Bool { slots.isEmpty }

  /// The entry that a hash belongs to, or after `step` refusals the one in a slot so much further.
  func entry(of hash: UInt64, step: Int) -> Int {
    Int(slots[Int((hash % UInt64(Self.slotCount) + UInt64(step)) % UInt64(Self.slotCount))])
  }

  private struct Claimant {
    let position: UInt16
    let weight: Int
    /// How much of a turn it has saved.
    var credit: Int
    var slot: Int
    let skip: Int
  }

  private static func fill(_ entries: [Entry]) -> [UInt16] {
    let largest = entries.map(\.weight).max() ?? 0
    if largest <= 0 { return [] }
    var claimants: [Claimant] = []
    for (position, entry) in entries.prefix(slotCount - 1).enumerated() where entry.weight > 0 {
      claimants.append(
        Claimant(
          position: UInt16(position), weight: entry.weight,
          // All claim a slot in the first round.
          credit: largest - entry.weight,
          slot: Int(hash(entry.id, .offset) % UInt64(slotCount)),
          skip: Int(hash(entry.id, .skip) % UInt64(slotCount - 1)) + 1))
    }
    var slots = [UInt16](repeating: 0, count: slotCount)
    var isTaken = [Bool](repeating: false, count: slotCount)
    var freeCount = slotCount
    while true {
      for index in claimants.indices {
        claimants[index].credit += claimants[index].weight
        if claimants[index].credit < largest { continue }
        claimants[index].credit -= largest
        var slot = claimants[index].slot
        let skip = claimants[index].skip
        while isTaken[slot] { slot = next(slot, skip) }
        isTaken[slot] = true
        slots[slot] = claimants[index].position
        claimants[index].slot = next(slot, skip)
        freeCount -= 1
        if freeCount == 0 { return slots }
      }
    }
  }

  private static func next(_ slot: Int, _ skip: Int) -> Int {
    let next = slot + skip
    return next < slotCount ? next : next - slotCount
  }

  private static func hash(_ id: [UInt8], _ purpose: StableHash.Purpose) -> UInt64 {
    var hash = StableHash(purpose)
    hash.add(id.span)
    return hash.value
  }
}
