// Slow start: a backend that returns after a failure gets its share in ten steps, so that cold
// caches and a compiler that has yet to warm up don't meet full load at once.
//
// The ramp is linear in time. It only scales weights against those of the other members, so it
// does nothing for a member that is alone, nor when all of them are on a ramp. It never holds at
// process start, since a backend returns only after it was out (BackendRecord.returnedAt). A
// rotation is made anew at each step: ten times for each return, not more.

import Primitives

/// How long a returned backend's ramp is.
struct SlowStart: Equatable, Sendable {
  /// Each step is a tenth of the weight.
  static let stepCount = 10

  let span: TimeSpan

  /// The tenths of its weight that a backend gets at `now`; nil when it gets all of it.
  func tenths(returnedAt: Instant, at now: Instant) -> Int? {
    if returnedAt == .origin { return nil }
    // A clock that hasn't come to the return yet stands at its beginning.
    let elapsed = max(.zero, now - returnedAt)
    if elapsed >= span { return nil }
    return 1 + Int(elapsed.nanoseconds / stepSpan)
  }

  /// When the next step is due for a backend that gets so many tenths.
  func end(ofStep tenths: Int, returnedAt: Instant) -> Instant {
    min(returnedAt + .nanoseconds(stepSpan * Int64(tenths)), returnedAt + span)
  }

  /// Rounded up, so that there is no eleventh step.
  private var stepSpan: Int64 {
    max(1, (span.nanoseconds + Int64(Self.stepCount) - 1) / Int64(Self.stepCount))
  }
}
