// Signals without handlers: blocked in all threads, and received one by one by the control thread.
//
// A handler may interrupt any instruction and may call hardly anything; sigwait turns signals into
// a queue. They must be blocked before the first thread starts, because threads inherit the mask.

import Glibc

/// The signals that an operator may send.
public enum Signal: Sendable, CaseIterable {
  /// SIGTERM
  case terminate
  /// SIGINT
  case interrupt
  /// SIGHUP
  case hangUp
  /// SIGUSR1
  case user1
  /// SIGUSR2
  case user2

  var number: Int32 {
    switch self {
    case .terminate: SIGTERM
    case .interrupt: SIGINT
    case .hangUp: SIGHUP
    case .user1: SIGUSR1
    case .user2: SIGUSR2
    }
  }
}

public enum Signals {
  /// Blocks every `Signal` in the calling thread and in all threads that it starts later, and
  /// ignores SIGPIPE. Call it first in `main`.
  public static func block() {
    var set = all
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    _ = signal(SIGPIPE, SIG_IGN)
  }

  /// Blocks the calling thread until a signal arrives; signals since `block` count.
  public static func wait() -> Signal {
    var set = all
    while true {
      var number: Int32 = 0
      _ = unsafe sigwait(&set, &number)
      if let signal = Signal.allCases.first(where: { $0.number == number }) { return signal }
    }
  }

  private static var all: sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in Signal.allCases { unsafe sigaddset(&set, signal.number) }
    return set
  }
}
