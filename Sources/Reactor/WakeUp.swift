// Wakes a thread that waits. Several signals before it wakes count as one.
//
// An atomic flag comes before the eventfd, so that of a thousand messages to a busy worker only the
// first costs a system call. The order makes it safe: the sender publishes its message before it
// signals, and the owner clears the flag before it looks for messages.

import CLinux
import Glibc
public import Primitives
import Synchronization

/// Wakes one thread, either from `EpollIO.wait` or from its own `wait`, not both.
public final class WakeUp: Sendable {
  let descriptor: Int32
  private let signalled = Atomic<Bool>(false)

  /// Throws EMFILE, ENFILE or ENOMEM.
  public init() throws(SystemError) {
    descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
    if descriptor < 0 { throw .last }
  }

  deinit {
    if descriptor >= 0 { _ = Glibc.close(descriptor) }
  }

  /// Wakes the owner, now or at its next wait. From any thread.
  public func signal() {
    if signalled.exchange(true, ordering: .acquiringAndReleasing) { return }
    var one: UInt64 = 1
    // It fails only when the counter is 2^64 - 1 or when a signal handler interrupts it, and there
    // are no handlers.
    _ = unsafe write(descriptor, &one, MemoryLayout<UInt64>.size)
  }

  /// Whether there was a signal since the last `take`. Owner only: look for messages after this
  /// call, not before it.
  public func take() -> Bool {
    signalled.load(ordering: .relaxed)
      && signalled.exchange(false, ordering: .acquiringAndReleasing)
  }

  /// Whether the next `take` returns true.
  public var isSignalled: Bool { signalled.load(ordering: .acquiring) }

  /// Blocks until there is a signal, at most for `limit`, and takes it. Owner only. It may return
  /// early without a reason.
  public func wait(atMost limit: TimeSpan? = nil) {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&request, 1, pollMilliseconds(limit))
    var count: UInt64 = 0
    _ = unsafe read(descriptor, &count, MemoryLayout<UInt64>.size)
    _ = take()
  }
}

/// `span` for poll and epoll_wait: rounded up, so that a thread doesn't wake before the deadline
/// and spin; -1 for no limit.
func pollMilliseconds(_ span: TimeSpan?) -> Int32 {
  guard let span else { return -1 }
  if span.nanoseconds <= 0 { return 0 }
  return Int32(clamping: (span.nanoseconds - 1) / 1_000_000 + 1)
}
