// When each request of a run falls due: arithmetic, no clock.

import Primitives

/// Requests by number, evenly spaced from the start. Those of the warm-up come first.
struct Schedule {
  /// Requests a second.
  let rate: Int
  /// The requests before this one aren't counted.
  let warmUpCount: Int
  /// All requests, those of the warm-up included.
  let count: Int
  /// When the first one is due.
  var start = Instant.origin

  init(rate: Int, seconds: Int) {
    self.rate = rate
    // Half a second's: caches fill, and the server's own dials are done.
    warmUpCount = (rate + 1) / 2
    count = warmUpCount + rate * seconds
  }

  func due(_ request: Int) -> Instant {
    start + .nanoseconds(Int64(request) * 1_000_000_000 / Int64(rate))
  }

  /// How many are due at `now`.
  func dueCount(at now: Instant) -> Int {
    if now >= due(count - 1) { return count }
    let elapsed = (now - start).nanoseconds
    if elapsed < 0 { return 0 }
    // The inverse of `due`, which rounds down.
    return (Int(elapsed + 1) * rate + 999_999_999) / 1_000_000_000
  }
}
