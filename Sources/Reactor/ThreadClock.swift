// The processor time of one thread, which any other thread can read: how busy a worker is, at no
// cost to the worker.

import Glibc
import Synchronization

public final class ThreadClock: Sendable {
  /// 0 until the thread has begun.
  private let clock = Atomic<clockid_t>(0)

  public init() {}

  /// To be called once by the thread itself.
  public func start() {
    var identity = clockid_t()
    guard unsafe pthread_getcpuclockid(pthread_self(), &identity) == 0 else { return }
    clock.store(identity, ordering: .releasing)
  }

  /// Processor time that the thread has used, in seconds; nil before it began and after it ended.
  public var seconds: Double? {
    let identity = clock.load(ordering: .acquiring)
    if identity == 0 { return nil }
    var time = timespec()
    guard unsafe clock_gettime(identity, &time) == 0 else { return nil }
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
