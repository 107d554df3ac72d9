// Future events of a simulated world, in the order of virtual time.
//
// A binary heap. Events of the same instant have an order drawn from the seed, because reality
// promises no order either. Events name their subject by number and use no closures, so a run
// allocates little, and the queue can be hashed and printed.

import Primitives

/// An event at a point of virtual time; the numbers identify endpoints or actors.
enum SimulatedEvent {
  /// The first bytes, end or reset in flight to this endpoint may have arrived.
  case delivery(Int)
  /// This endpoint may send again.
  case room(Int)
  /// The connect of this endpoint reaches the other side.
  case dial(Int)
  /// The result of this endpoint's connect comes back.
  case establishment(Int)
  /// This endpoint's connect fails with an errno.
  case dialFailure(Int, Int32)
  /// This actor runs.
  case act(Int)
}

struct EventQueue {
  private struct Entry {
    let time: Instant
    let tie: UInt64
    let event: SimulatedEvent

    func precedes(_ other: Entry) -> Bool {
      time == other.time ? tie < other.tie : time < other.time
    }
  }

  private var heap: [Entry] = []

  var nextTime: Instant? { heap.first?.time }
  var count: Int { heap.count }

  mutating func schedule(_ event: SimulatedEvent, at time: Instant, tie: UInt64) {
    heap.append(Entry(time: time, tie: tie, event: event))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      if !heap[child].precedes(heap[parent]) { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Removes and returns the earliest event if its time is at most `now`.
  mutating func next(at now: Instant) -> (time: Instant, event: SimulatedEvent)? {
    guard let first = heap.first, first.time <= now else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      sift()
    }
    return (first.time, first.event)
  }

  private mutating func sift() {
    var parent = 0
    while true {
      var least = parent
      let child = 2 * parent + 1
      if child < heap.count && heap[child].precedes(heap[least]) { least = child }
      if child + 1 < heap.count && heap[child + 1].precedes(heap[least]) { least = child + 1 }
      if least == parent { return }
      heap.swapAt(least, parent)
      parent = least
    }
  }
}
