// Signals as a queue, in a separate process.

import Glibc
import Reactor
import Testing

@Suite struct SignalsTests {
  @Test func everySignalSentToTheProcessIsWaitedForInsteadOfKilling() async {
    await #expect(processExitsWith: .exitCode(7)) {
      Signals.block()
      let numbers = [
        (SIGHUP, Signal.hangUp), (SIGUSR1, .user1), (SIGUSR2, .user2), (SIGINT, .interrupt),
        (SIGTERM, .terminate),
      ]
      // A thread that doesn't block the signal would be killed by it. Other threads are already
      // running, so the signal is sent to this thread.
      for (number, signal) in numbers {
        pthread_kill(pthread_self(), number)
        if Signals.wait() != signal { exit(1) }
      }
      exit(7)
    }
  }

  @Test func writingToAClosedPipeIsAnErrorAndNotTheEnd() async {
    await #expect(processExitsWith: .exitCode(7)) {
      Signals.block()
      var ends: [Int32] = [0, 0]
      pipe(&ends)
      close(ends[0])
      if write(ends[1], "x", 1) == -1 && errno == EPIPE { exit(7) }
    }
  }
}

@Suite struct DescriptorLimitTests {
  @Test func theSoftLimitIsRaisedToTheHardOne() async {
    await #expect(processExitsWith: .exitCode(7)) {
      var limit = rlimit(rlim_cur: 100, rlim_max: 200)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      let raised = DescriptorLimit.raise()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      exit(raised == 200 && limit.rlim_cur == 200 ? 7 : 1)
    }
  }
}
