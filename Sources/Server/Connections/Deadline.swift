// One deadline of one object, cheap to move.
//
// Most deadlines are moved later with every request, and are never due. So moving one later only
// stores the new instant. Its entry in the timer wheel stays, fires early, and is then scheduled
// again for the current deadline. Only moving a deadline earlier changes the wheel.

import Primitives

struct Deadline {
  /// When it comes due; `.never` while nothing is awaited.
  private(set) var instant = Instant.never
  private var entry: (timer: TimerID, firesAt: Instant)?

  mutating func set(_ instant: Instant, payload: UInt64, in timers: inout TimerWheel) {
    self.instant = instant
    if let entry {
      if instant < entry.firesAt {
        timers.reschedule(entry.timer, to: instant)
        self.entry = (entry.timer, instant)
      }
    } else if instant != .never {
      entry = (timers.schedule(instant, payload: payload), instant)
    }
  }

  /// Called when the entry has fired: true if the deadline is due; else the entry is put back.
  mutating func fired(at now: Instant, payload: UInt64, in timers: inout TimerWheel) -> Bool {
    entry = nil
    if instant <= now {
      instant = .never
      return true
    }
    if instant != .never {
      entry = (timers.schedule(instant, payload: payload), instant)
    }
    return false
  }

  /// Takes the entry out of the wheel, before the object goes.
  mutating func cancel(in timers: inout TimerWheel) {
    if let entry { timers.cancel(entry.timer) }
    entry = nil
    instant = .never
  }
}
