// A timer with a precision of microseconds; `EpollIO.wait` has milliseconds.
//
// It is a timerfd. The timer slack of the thread, 50 microseconds by default, may extend the
// timeouts of system calls (also of epoll_pwait2), but not a timerfd. Workers don't need this
// precision: their deadlines are on the timer wheel.

import CLinux
import Glibc
public import Primitives

/// Reports one instant at a time, through the `InputOutput` where its socket is registered.
public final class KernelTimer: Sendable {
  private let descriptor: Int32

  /// Throws EMFILE, ENFILE or ENOMEM.
  public init() throws(SystemError) {
    descriptor = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))
    if descriptor < 0 { throw .last }
  }

  deinit { if descriptor >= 0 { _ = Glibc.close(descriptor) } }

  /// Register this socket, but don't read or close it.
  public var socket: Socket { Socket(descriptor: descriptor) }

  /// Becomes readable once at `instant`, or now if that has passed. Replaces the previous setting.
  public func set(to instant: Instant) {
    // Zero would turn the timer off.
    let nanoseconds = max(1, instant.nanoseconds)
    var time = itimerspec()
    time.it_value.tv_sec = Int(clamping: nanoseconds / 1_000_000_000)
    time.it_value.tv_nsec = Int(nanoseconds % 1_000_000_000)
    // Setting the timer clears an earlier expiry, so the counter need not be read.
    if unsafe timerfd_settime(descriptor, Int32(TFD_TIMER_ABSTIME), &time, nil) < 0 {
      fatalError("timerfd_settime failed: \(SystemError.last)")
    }
  }
}
