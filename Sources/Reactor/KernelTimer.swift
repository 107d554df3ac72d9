// A timer that is exact to some microseconds, where `EpollIO.wait` knows milliseconds.
//
// It is a timerfd. The time-outs of system calls, epoll_pwait2's too, may be stretched by the
// thread's timer slack, 50 microseconds by default; a timerfd has none. Workers need no such
// precision: their deadlines are on the timer wheel.

import CLinux
import Glibc
public import Primitives

/// Reports one instant at a time, through whichever `InputOutput` its socket is registered with.
public final class KernelTimer: Sendable {
  private let descriptor: Int32

  /// Throws EMFILE, ENFILE or ENOMEM.
  public init() throws(SystemError) {
    descriptor = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))
    if descriptor < 0 { throw .last }
  }

  deinit { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

  /// To be registered, not to be read or closed.
  public var socket: Socket { Socket(descriptor: descriptor) }

  /// Becomes readable once at `instant`, or now if that has passed, instead of what was set before.
  public func set(to instant: Instant) {
    // Zero would turn the timer off.
    let nanoseconds = max(1, instant.nanoseconds)
    var time = itimerspec()
    time.it_value.tv_sec = Int(clamping: nanoseconds / 1_000_000_000)
    time.it_value.tv_nsec = Int(nanoseconds % 1_000_000_000)
    // Setting forgets an earlier expiry, so that the counter need not be read back.
    if unsafe timerfd_settime(descriptor, Int32(TFD_TIMER_ABSTIME), &time, nil) < 0 {
      fatalError("timerfd_settime failed: \(SystemError.last)")
    }
  }
}
