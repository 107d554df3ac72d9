// Waking a thread: at once, only once, and without cost if it is already awake.

import Primitives
import Testing

@testable import Reactor

@Suite struct WakeUpTests {
  @Test func aSignalFromAnotherThreadEndsTheWaitWithoutAnEvent() throws {
    let wakeUp = try WakeUp()
    var io = try EpollIO(wakeUp: wakeUp)
    for _ in 0..<3 {
      let thread = try Thread(name: "signaller") { wakeUp.signal() }
      let before = io.now
      let count = io.wait(until: before + .seconds(20))
      #expect(count == 0)
      let took = io.now - before
      #expect(took < .seconds(10))
      thread.join()
      #expect(wakeUp.take())
      #expect(!wakeUp.take())
    }
    // No signal is pending: the next wait takes its full time.
    let before = io.now
    let count = io.wait(until: before + .milliseconds(20))
    #expect(count == 0)
    let took = io.now - before
    #expect(took >= .milliseconds(20))
  }

  @Test func aSignalBeforeTheWaitIsNotLost() throws {
    let wakeUp = try WakeUp()
    wakeUp.signal()
    #expect(wakeUp.isSignalled)
    var io = try EpollIO(wakeUp: wakeUp)
    let before = io.now
    let count = io.wait(until: before + .seconds(20))
    #expect(count == 0)
    let took = io.now - before
    #expect(took < .seconds(10))
  }

  @Test func theWakeUpIsNotAmongTheEvents() throws {
    let wakeUp = try WakeUp()
    var io = try EpollIO(wakeUp: wakeUp)
    let group = try ListeningSockets.open(on: loopback, count: 1)
    io.watch(listener: group.sockets[0], token: 5)
    // It is the first ready event, so another one must take its position.
    wakeUp.signal()
    guard case .started(let client) = io.connect(to: group.address, token: 6) else { return }
    var tokens: Set<UInt64> = []
    let limit = io.now + .seconds(5)
    while tokens.count < 2, io.now < limit {
      for index in 0..<io.wait(until: limit) { tokens.insert(io.event(index).token) }
    }
    #expect(tokens == [5, 6])
    #expect(wakeUp.take())
    io.close(client, reset: false)
    io.close(group.sockets[0], reset: false)
  }

  @Test func anOwnWaitEndsBySignalAndCanBeRepeated() throws {
    let wakeUp = try WakeUp()
    let thread = try Thread(name: "signaller") { wakeUp.signal() }
    wakeUp.wait()
    thread.join()
    #expect(!wakeUp.isSignalled)
    let before = SystemClock.monotonic()
    wakeUp.wait(atMost: .milliseconds(15))
    #expect(SystemClock.monotonic() - before >= .milliseconds(15))
  }
  @Test(
    arguments: [
      (nil, -1), (-5, 0), (0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2),
      (.max, .max),
    ] as [(Int64?, Int32)])
  func aTimeOutIsRoundedUpToMilliseconds(nanoseconds: Int64?, milliseconds: Int32) {
    #expect(pollMilliseconds(nanoseconds.map(TimeSpan.init(nanoseconds:))) == milliseconds)
  }
}
