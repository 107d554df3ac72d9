// One deadline of one object, cheap to move.
//
// Most deadlines are pushed back with every request and never come due. So moving one later only
// stores the new instant; the entry in the wheel stays where it is, fires early, and is put where
// the deadline has got to by then. Only moving one earlier touches the wheel.

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
