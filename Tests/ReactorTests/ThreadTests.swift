// Named threads: started, joined, waited for.

import Glibc
import Primitives
import Reactor
import Synchronization
import Testing

@Suite struct ThreadTests {
  @Test func aThreadRunsItsClosureUnderItsNameWithSignalsBlocked() throws {
    let seen = Mutex<(name: String, blocksTerminate: Bool, blocksFaults: Bool)>(("", false, true))
    let thread = try Thread(name: "worker-with-a-long-name") {
      var mask = sigset_t()
      pthread_sigmask(SIG_SETMASK, nil, &mask)
      let name = (try? File.read("/proc/thread-self/comm", limit: 100)) ?? []
      seen.withLock { [mask] seen in
        var mask = mask
        seen.name = String(decoding: name.dropLast(), as: UTF8.self)
        seen.blocksTerminate = sigismember(&mask, SIGTERM) == 1
        seen.blocksFaults = sigismember(&mask, SIGSEGV) == 1
      }
    }
    thread.join()
    let (name, blocksTerminate, blocksFaults) = seen.withLock { $0 }
    #expect(name == "worker-with-a-l")
    #expect(blocksTerminate)
    #expect(!blocksFaults)
  }

  @Test func startingAThreadLeavesTheStartersSignalsAsTheyWere() throws {
    var none = sigset_t()
    sigemptyset(&none)
    var before = sigset_t()
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try Thread(name: "empty") {}.join()
    var after = sigset_t()
    pthread_sigmask(SIG_SETMASK, nil, &after)
    #expect(sigismember(&after, SIGTERM) == 0)
    #expect(sigismember(&after, SIGUSR1) == 0)
  }

  @Test func joiningWithALimitTellsWhetherTheThreadHasEnded() throws {
    let release = try WakeUp()
    let thread = try Thread(name: "waiting") { release.wait() }
    #expect(!thread.join(atMost: .milliseconds(10)))
    release.signal()
    #expect(thread.join(atMost: .seconds(10)))
    #expect(thread.join(atMost: .zero))
    thread.join()
  }
}
