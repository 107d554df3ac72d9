// When each request of a run becomes due. It is arithmetic and reads no clock.

import Primitives

/// Requests by number, evenly spaced from the start. The warm-up comes first.
struct Schedule {
  /// Requests per second.
  let rate: Int
  /// Earlier requests aren't counted.
  let warmUpCount: Int
  /// All requests, including the warm-up.
  let count: Int
  /// When the first one is due.
  var start = Instant.origin

  init(rate: Int, seconds: Int) {
    self.rate = rate
    // Half a second: enough to fill caches and for the server's own connects.
    warmUpCount = (rate + 1) / 2
    count = warmUpCount + rate * seconds
  }

  func due(_ request: Int) -> Instant {
    start + .nanoseconds(Int64(request) * 1_000_000_000 / Int64(rate))
  }

  /// The number of requests due at `now`.
  func dueCount(at now: Instant) -> Int {
    if now >= due(count - 1) { return count }
    let elapsed = (now - start).nanoseconds
    if elapsed < 0 { return 0 }
    // The inverse of `due`, which rounds down.
    return (Int(elapsed + 1) * rate + 999_999_999) / 1_000_000_000
  }
}
