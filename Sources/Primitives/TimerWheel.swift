// Deadlines for very many objects, most of which never expire.
//
// A hashed hierarchical wheel (Varghese and Lauck, 1987): four levels of 64 slots and a tick of 4
// ms, so the innermost level covers 256 ms and the outermost about 18 hours. Later deadlines go
// into the last slot and cascade again. Scheduling and cancelling are O(1) and allocate only when
// the wheel grows. A deadline fires at most one tick late and never early.

/// Identifies a scheduled entry of a `TimerWheel`.
public struct TimerID: Equatable, Sendable {
  fileprivate var node: Int32
  public static let none = TimerID(node: -1)
}

/// A set of (deadline, payload) pairs; the payload is 64 bits, enough for a kind and a `Handle`.
public struct TimerWheel: ~Copyable {
  private static let levelCount = 4
  private static let slotBits = 6
  private static let slotCount = 1 << slotBits
  private static let tick: UInt64 = 4_000_000

  private struct Node {
    var previous: Int32
    var next: Int32
    /// -1 while the node is free.
    var slot: Int32
    /// The tick at which it fires, rounded up.
    var due: UInt64
    var payload: UInt64
  }

  private var nodes: [Node] = []
  private var freeNodes: [Int32] = []
  private var heads = [Int32](repeating: -1, count: levelCount * slotCount)
  /// One bit per slot that isn't empty, for each level.
  private var occupied = InlineArray<4, UInt64>(repeating: 0)
  private var current: UInt64
  public private(set) var count = 0

  public init(now: Instant) { current = now.nanoseconds / Self.tick }

  public mutating func schedule(_ deadline: Instant, payload: UInt64) -> TimerID {
    let index: Int32
    let due = Self.tickAtOrAfter(deadline)
    let node = Node(previous: -1, next: -1, slot: -1, due: due, payload: payload)
    if let recycled = freeNodes.popLast() {
      index = recycled
      nodes[Int(index)] = node
    } else {
      index = Int32(nodes.count)
      nodes.append(node)
    }
    link(index)
    count += 1
    return TimerID(node: index)
  }

  /// Moves a scheduled entry to another deadline.
  public mutating func reschedule(_ timer: TimerID, to deadline: Instant) {
    let due = Self.tickAtOrAfter(deadline)
    if nodes[Int(timer.node)].due == due { return }
    unlink(timer.node)
    nodes[Int(timer.node)].due = due
    link(timer.node)
  }

  /// Removes an entry. It must not have fired.
  public mutating func cancel(_ timer: TimerID) {
    unlink(timer.node)
    release(timer.node)
  }

  /// Advances to `now`, and removes and returns the payload of one expired entry; nil when none is
  /// left. Call it until it returns nil.
  public mutating func next(at now: Instant) -> UInt64? {
    let target = now.nanoseconds / Self.tick
    while true {
      let slot = Int(current & UInt64(Self.slotCount - 1))
      let head = heads[slot]
      if head >= 0 {
        unlink(head)
        let node = nodes[Int(head)]
        if node.due > current {
          // This entry was clamped, or scheduled a full turn ahead: it moves on.
          link(head)
          continue
        }
        release(head)
        return node.payload
      }
      if current >= target { return nil }
      if count == 0 {
        current = target
        return nil
      }
      advance(upTo: target)
    }
  }

  /// When to call `next` again, or nil when nothing is scheduled. It may be early (when an outer
  /// level has to be cascaded), never late.
  public var nextDeadline: Instant? {
    if count == 0 { return nil }
    var earliest = UInt64.max
    for level in 0..<Self.levelCount where occupied[level] != 0 {
      let shift = UInt64(level * Self.slotBits)
      let position = (current >> shift) & UInt64(Self.slotCount - 1)
      let rotated = Self.rotateRight(occupied[level], by: position)
      var distance = UInt64(rotated.trailingZeroBitCount)
      // On outer levels the current slot is already cascaded, so it means a full turn.
      if level > 0 && distance == 0 {
        let rest = rotated & ~1
        distance = rest == 0 ? UInt64(Self.slotCount) : UInt64(rest.trailingZeroBitCount)
      }
      let due = ((current >> shift) + distance) << shift
      earliest = min(earliest, max(due, current))
    }
    return Instant(nanoseconds: earliest.multipliedReportingOverflow(by: Self.tick).partialValue)
  }

  /// Steps to the next tick at which something may expire, and cascades outer levels on the way.
  private mutating func advance(upTo target: UInt64) {
    let mask = UInt64(Self.slotCount - 1)
    // Skip empty innermost slots up to the end of this turn of the innermost level.
    let position = current & mask
    let ahead = (occupied[0] >> position) >> 1
    let steps = ahead == 0 ? mask - position + 1 : UInt64(ahead.trailingZeroBitCount) + 1
    current = min(current + steps, target)
    var level = 1
    while level < Self.levelCount && current & ((1 << UInt64(level * Self.slotBits)) - 1) == 0 {
      cascade(level)
      level += 1
    }
  }

  private mutating func cascade(_ level: Int) {
    let slot = Int((current >> UInt64(level * Self.slotBits)) & UInt64(Self.slotCount - 1))
    let at = level * Self.slotCount + slot
    var index = heads[at]
    heads[at] = -1
    occupied[level] &= ~(1 << UInt64(slot))
    while index >= 0 {
      let next = nodes[Int(index)].next
      link(index)
      index = next
    }
  }

  private mutating func link(_ index: Int32) {
    let due = max(nodes[Int(index)].due, current)
    let distance = due - current
    var level = 0
    while level < Self.levelCount - 1 && distance >> UInt64((level + 1) * Self.slotBits) != 0 {
      level += 1
    }
    let reach = (UInt64(1) << UInt64(Self.levelCount * Self.slotBits)) - 1
    let clamped = current + min(distance, reach)
    let slot = Int((clamped >> UInt64(level * Self.slotBits)) & UInt64(Self.slotCount - 1))
    let at = level * Self.slotCount + slot
    let head = heads[at]
    nodes[Int(index)].previous = -1
    nodes[Int(index)].next = head
    nodes[Int(index)].slot = Int32(at)
    if head >= 0 { nodes[Int(head)].previous = index }
    heads[at] = index
    occupied[level] |= 1 << UInt64(slot)
  }

  private mutating func unlink(_ index: Int32) {
    let node = nodes[Int(index)]
    precondition(node.slot >= 0, "cancelling a timer that is not scheduled")
    if node.previous >= 0 {
      nodes[Int(node.previous)].next = node.next
    } else {
      heads[Int(node.slot)] = node.next
      if node.next < 0 {
        let level = Int(node.slot) / Self.slotCount
        occupied[level] &= ~(1 << UInt64(Int(node.slot) % Self.slotCount))
      }
    }
    if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
  }

  private mutating func release(_ index: Int32) {
    nodes[Int(index)].slot = -1
    freeNodes.append(index)
    count -= 1
  }

  private static func tickAtOrAfter(_ deadline: Instant) -> UInt64 {
    deadline.nanoseconds / tick + (deadline.nanoseconds % tick == 0 ? 0 : 1)
  }

  private static func rotateRight(_ value: UInt64, by count: UInt64) -> UInt64 {
    count == 0 ? value : (value >> count) | (value << (64 - count))
  }
}
