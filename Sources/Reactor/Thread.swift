// A named POSIX thread that runs one closure.
//
// Workers block in epoll_wait and own everything they use, which doesn't fit Swift's cooperative
// pool. Signals are blocked in every thread started here. Only the control thread receives them
// (Signals.swift), so they don't interrupt system calls of workers.

import CLinux
import Glibc
public import Primitives
import Synchronization

public final class Thread: Sendable {
  private let identity: pthread_t
  private let life: Life
  private let isJoined = Atomic<Bool>(false)

  /// Starts a thread. The kernel keeps 15 bytes of `name`. Throws EAGAIN when the limit on threads
  /// of the system or the cgroup is reached, and EMFILE, ENFILE or ENOMEM.
  public init(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    life = Life(name: name, ended: try WakeUp(), body: body)
    let argument = unsafe Unmanaged.passRetained(life)
    var identity = pthread_t()
    let mask = SignalMask.blockingAll()
    let code = unsafe pthread_create(
      &identity, nil,
      { argument in
        // Not nil: it is the argument of pthread_create.
        let life = unsafe Unmanaged<Life>.fromOpaque(argument.unsafelyUnwrapped)
          .takeRetainedValue()
        _ = unsafe clinux_set_thread_name(life.name)
        life.body()
        life.hasEnded.store(true, ordering: .releasing)
        life.ended.signal()
        return nil
      }, argument.toOpaque())
    mask.restore()
    if code != 0 {
      unsafe argument.release()
      isJoined.store(true, ordering: .relaxed)
      self.identity = pthread_t()
      throw SystemError(code: code)
    }
    self.identity = identity
  }

  deinit {
    if !isJoined.load(ordering: .relaxed) { pthread_detach(identity) }
  }

  /// Waits until the thread has ended. A thread that is not joined frees its own resources.
  public func join() {
    if isJoined.exchange(true, ordering: .relaxed) { return }
    _ = pthread_join(identity, nil)
  }

  /// Waits until the thread has ended, at most for `limit`, and returns whether it has. From one
  /// thread at a time.
  public func join(atMost limit: TimeSpan) -> Bool {
    let end = SystemClock.monotonic() + limit
    while !life.hasEnded.load(ordering: .acquiring) {
      let left = end - SystemClock.monotonic()
      if left <= .zero { return false }
      life.ended.wait(atMost: left)
    }
    join()
    return true
  }

  /// Shared by the thread and those that wait for it.
  private final class Life: Sendable {
    let name: String
    let body: @Sendable () -> Void
    let hasEnded = Atomic<Bool>(false)
    let ended: WakeUp

    init(name: String, ended: WakeUp, body: @escaping @Sendable () -> Void) {
      // The kernel accepts 16 bytes including the NUL, and refuses longer names.
      self.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
      self.ended = ended
      self.body = body
    }
  }
}

/// The signals that the calling thread blocked before it blocked all asynchronous ones.
private struct SignalMask {
  private var before = sigset_t()

  static func blockingAll() -> SignalMask {
    var mask = SignalMask()
    var all = sigset_t()
    unsafe sigfillset(&all)
    // Caused by bugs of the thread itself. If they were blocked, the process would end without a
    // trace.
    for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS] {
      unsafe sigdelset(&all, fault)
    }
    unsafe pthread_sigmask(SIG_BLOCK, &all, &mask.before)
    return mask
  }

  func restore() {
    var before = before
    unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
  }
}
