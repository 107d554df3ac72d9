// The waiters of a queue in the order of arrival, and which of them have no turn yet.
//
// Each arrival gets the next slot, and keeps it. A bit per slot says whether its waiter is without
// a turn. A second level has a bit for each 64 of these bits that says whether any is set. So the
// next waiter without a turn is found by reading a few words, whatever the length of the queue.
// Slots of waiters that left are empty; when most slots are empty, the others are compacted.

struct WaitingPlaces {
  private struct Place {
    let waiter: Waiter
    let isRetry: Bool
  }

  private var places: [Place?] = []
  /// The slot of a waiter.
  private var slots: [Waiter: Int] = [:]
  private(set) var newcomerCount = 0
  /// One bit per slot, and one bit per 64 slots.
  private var withoutTurn: [UInt64] = []
  private var wordsWithBits: [UInt64] = []

  /// Below this number of slots, nothing is compacted.
  private static let slotMin = 64

  init() {}

  var count: Int { slots.count }

  mutating func append(_ waiter: Waiter, isRetry: Bool) {
    if places.count >= max(Self.slotMin, 2 * count) { moveTogether() }
    insert(Place(waiter: waiter, isRetry: isRetry), hasTurn: false)
    if !isRetry { newcomerCount += 1 }
  }

  mutating func giveTurn(after waiter: Waiter?) -> Waiter? {
    let start = waiter.flatMap { slots[$0] }.map { $0 + 1 } ?? 0
    guard let slot = firstWithoutTurn(from: start) else { return nil }
    setWithoutTurn(slot, false)
    return places[slot]?.waiter
  }

  mutating func takeTurn(_ waiter: Waiter) {
    if let slot = slots[waiter] { setWithoutTurn(slot, true) }
  }

  mutating func remove(_ waiter: Waiter) {
    guard let slot = slots.removeValue(forKey: waiter), let place = places[slot] else { return }
    if !place.isRetry { newcomerCount -= 1 }
    setWithoutTurn(slot, false)
    places[slot] = nil
  }

  private mutating func insert(_ place: Place, hasTurn: Bool) {
    let slot = places.count
    places.append(place)
    slots[place.waiter] = slot
    if slot % 64 == 0 { withoutTurn.append(0) }
    if slot % 4096 == 0 { wordsWithBits.append(0) }
    if !hasTurn { setWithoutTurn(slot, true) }
  }

  /// Each scan is paid for by as many arrivals as it has slots.
  private mutating func moveTogether() {
    let former = places
    let formerBits = withoutTurn
    places.removeAll(keepingCapacity: true)
    withoutTurn.removeAll(keepingCapacity: true)
    wordsWithBits.removeAll(keepingCapacity: true)
    for (slot, place) in former.enumerated() {
      guard let place else { continue }
      insert(place, hasTurn: formerBits[slot / 64] >> UInt64(slot % 64) & 1 == 0)
    }
  }

  // MARK: Bits

  private mutating func setWithoutTurn(_ slot: Int, _ isSet: Bool) {
    let word = slot / 64
    let bit: UInt64 = 1 << UInt64(slot % 64)
    withoutTurn[word] = isSet ? withoutTurn[word] | bit : withoutTurn[word] & ~bit
    let above: UInt64 = 1 << UInt64(word % 64)
    wordsWithBits[word / 64] =
      withoutTurn[word] == 0 ? wordsWithBits[word / 64] & ~above : wordsWithBits[word / 64] | above
  }

  private func firstWithoutTurn(from start: Int) -> Int? {
    var word = start / 64
    guard word < withoutTurn.count else { return nil }
    let bits = withoutTurn[word] & (.max << UInt64(start % 64))
    if bits != 0 { return word * 64 + bits.trailingZeroBitCount }
    word += 1
    // The first word is read from this bit on, the others completely.
    var mask = UInt64.max << UInt64(word % 64)
    var above = word / 64
    while above < wordsWithBits.count {
      let words = wordsWithBits[above] & mask
      if words != 0 {
        word = above * 64 + words.trailingZeroBitCount
        return word * 64 + withoutTurn[word].trailingZeroBitCount
      }
      mask = .max
      above += 1
    }
    return nil
  }
}
