// The two clocks of the system. A worker reads the first one once per loop iteration, through
// `EpollIO`.

import Glibc
public import Primitives

public enum SystemClock {
  /// The monotonic clock, for all deadlines. It can't be set, and stops while the system is
  /// suspended.
  public static func monotonic() -> Instant {
    Instant(nanoseconds: read(CLOCK_MONOTONIC))
  }

  /// Nanoseconds since 1970-01-01 UTC, for logs. It may jump when the clock is set.
  public static func wall() -> UInt64 { read(CLOCK_REALTIME) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    // It fails only for an unknown clock.
    _ = unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }
}
