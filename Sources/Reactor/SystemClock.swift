// The two clocks of the system. The worker asks the first once per loop turn, through `EpollIO`.

import Glibc
public import Primitives

public enum SystemClock {
  /// The monotonic clock: never set, not moved by a suspend, the one that deadlines live on.
  public static func monotonic() -> Instant {
    Instant(nanoseconds: read(CLOCK_MONOTONIC))
  }

  /// Nanoseconds since 1970-01-01 UTC, for people to read. It may jump when the clock is set.
  public static func wall() -> UInt64 { read(CLOCK_REALTIME) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    // It can fail only for a clock that doesn't exist.
    _ = unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }
}
