// Which stream sends DATA next (RFC 9218 10).
//
// There is one list per urgency with the streams that have something to send and a window for it.
// The most urgent list goes first. Within a list, incremental streams take turns of one frame, and
// the others of many: so each is nearly finished before the next, but none blocks the rest. A list
// that was passed over often enough gets a turn, so that no stream starves.
//
// The lists are linked through the streams' slots, so joining, leaving and choosing take constant
// time and no memory.

struct SendQueue {
  static let none = UInt16.max

  /// Turns of a stream that is not incremental, before the next one of its urgency gets one.
  static let turnCount: UInt8 = 16
  /// How often a list is passed over before it gets a turn.
  static let patience: UInt8 = 16

  private var heads = InlineArray<8, UInt16>(repeating: none)
  private var tails = InlineArray<8, UInt16>(repeating: none)
  private var passed = InlineArray<8, UInt8>(repeating: 0)
  /// One bit for each list that isn't empty.
  private var occupied: UInt8 = 0

  var isEmpty: Bool { occupied == 0 }

  mutating func append(_ slot: UInt16, _ streams: inout StreamTable) {
    let level = Int(streams[slot].priority.urgency)
    precondition(!streams[slot].isQueued, "a stream is queued once")
    streams[slot].isQueued = true
    streams[slot].queueLevel = UInt8(level)
    streams[slot].turns = 0
    streams[slot].previous = tails[level]
    streams[slot].next = Self.none
    if tails[level] == Self.none {
      heads[level] = slot
      passed[level] = 0
    } else {
      streams[tails[level]].next = slot
    }
    tails[level] = slot
    occupied |= 1 << UInt8(level)
  }

  mutating func remove(_ slot: UInt16, _ streams: inout StreamTable) {
    guard streams[slot].isQueued else { return }
    let level = Int(streams[slot].queueLevel)
    let (previous, next) = (streams[slot].previous, streams[slot].next)
    if previous == Self.none { heads[level] = next } else { streams[previous].next = next }
    if next == Self.none { tails[level] = previous } else { streams[next].previous = previous }
    streams[slot].isQueued = false
    if heads[level] == Self.none { occupied &= ~(1 << UInt8(level)) }
  }

  /// The stream that sends next; it stays queued.
  func first() -> UInt16? {
    occupied == 0 ? nil : heads[level]
  }

  private var level: Int {
    let urgent = occupied.trailingZeroBitCount
    // The least urgent of those that waited long enough, since it also waits for all others.
    var candidate = 7
    while candidate > urgent {
      if occupied >> UInt8(candidate) & 1 == 1 && passed[candidate] >= Self.patience {
        return candidate
      }
      candidate -= 1
    }
    return urgent
  }

  /// The stream that `first` returned has had its turn.
  mutating func tookTurn(_ slot: UInt16, _ streams: inout StreamTable) {
    let level = Int(streams[slot].queueLevel)
    passed[level] = 0
    for other in (level + 1)..<8 where occupied >> UInt8(other) & 1 == 1 {
      passed[other] = min(passed[other] + 1, Self.patience)
    }
    streams[slot].turns += 1
    if streams[slot].priority.isIncremental || streams[slot].turns >= Self.turnCount {
      remove(slot, &streams)
      append(slot, &streams)
    }
  }
}
