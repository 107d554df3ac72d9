// The bell of a thread that waits: anyone may ring it, and it rings once until it is heard.
//
// An atomic flag stands before the eventfd, so that of a thousand posts to a busy worker only the
// first costs a system call. The order is what makes it safe: whoever signals has published what it
// has to say before, and the owner takes the flag back before it looks.

import CLinux
import Glibc
public import Primitives
import Synchronization

/// Wakes one thread, either out of `EpollIO.wait` or out of its own `wait`; not both.
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
    // It fails only when the counter stands at 2^64 - 1 or a signal handler interrupts it, and
    // there are no handlers.
    _ = unsafe write(descriptor, &one, MemoryLayout<UInt64>.size)
  }

  /// Whether somebody has signalled since the last `take`. Owner only: look at what others have
  /// left after this call, not before it.
  public func take() -> Bool {
    signalled.load(ordering: .relaxed)
      && signalled.exchange(false, ordering: .acquiringAndReleasing)
  }

  /// Whether the next `take` returns true.
  public var isSignalled: Bool { signalled.load(ordering: .acquiring) }

  /// Blocks until somebody signals, or for `limit`, and takes the signal. Owner only. It may
  /// return early for no reason.
  public func wait(atMost limit: TimeSpan? = nil) {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    _ = unsafe poll(&request, 1, pollMilliseconds(limit))
    var count: UInt64 = 0
    _ = unsafe read(descriptor, &count, MemoryLayout<UInt64>.size)
    _ = take()
  }
}

/// `span` as poll and epoll_wait take it: rounded up, so that nobody wakes before the deadline and
/// spins, and -1 for no limit.
func pollMilliseconds(_ span: TimeSpan?) -> Int32 {
  guard let span else { return -1 }
  if span.nanoseconds <= 0 { return 0 }
  return Int32(clamping: (span.nanoseconds - 1) / 1_000_000 + 1)
}
