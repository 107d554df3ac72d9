// Slow start: a backend that comes back after a failure reaches its share in ten steps, so that
// cold caches and JIT compilers don't get full load at once.
//
// The ramp is linear in time. It only scales weights relative to the other members, so it has no
// effect on a single member, or when all of them are on a ramp. It doesn't apply at process start,
// since a backend must have been unavailable before (BackendRecord.returnedAt). Each step makes a
// new rotation: at most ten for each return.

import Primitives

/// The length of the ramp.
struct SlowStart: Equatable, Sendable {
  /// Each step is a tenth of the weight.
  static let stepCount = 10

  let span: TimeSpan

  /// The tenths of its weight that a backend gets at `now`; nil for the full weight.
  func tenths(returnedAt: Instant, at now: Instant) -> Int? {
    if returnedAt == .origin { return nil }
    // If the clock is still before the return, the ramp is at its beginning.
    let elapsed = max(.zero, now - returnedAt)
    if elapsed >= span { return nil }
    return 1 + Int(elapsed.nanoseconds / stepSpan)
  }

  /// When the step with this number of tenths ends.
  func end(ofStep tenths: Int, returnedAt: Instant) -> Instant {
    min(returnedAt + .nanoseconds(stepSpan * Int64(tenths)), returnedAt + span)
  }

  /// Rounded up, so that there is no eleventh step.
  private var stepSpan: Int64 {
    max(1, (span.nanoseconds + Int64(Self.stepCount) - 1) / Int64(Self.stepCount))
  }
}
