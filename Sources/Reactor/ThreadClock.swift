// The processor time of one thread, which other threads can read. It shows how busy a worker is, at
// no cost to the worker.

import Glibc
import Synchronization

public final class ThreadClock: Sendable {
  /// 0 until the thread has started.
  private let clock = Atomic<clockid_t>(0)

  public init() {}

  /// The thread itself must call this once.
  public func start() {
    var identity = clockid_t()
    guard unsafe pthread_getcpuclockid(pthread_self(), &identity) == 0 else { return }
    clock.store(identity, ordering: .releasing)
  }

  /// The processor time of the thread in seconds; nil before its start and after its end.
  public var seconds: Double? {
    let identity = clock.load(ordering: .acquiring)
    if identity == 0 { return nil }
    var time = timespec()
    guard unsafe clock_gettime(identity, &time) == 0 else { return nil }
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
