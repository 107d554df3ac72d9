// The exact timer, as EpollIO reports it.

import Primitives
import Reactor
import Testing

@Suite struct KernelTimerTests {
  @Test func itIsReportedOncePerInstantAndNotBefore() throws {
    let net = try Loopback()
    let timer = try KernelTimer()
    net.io.register(timer.socket, token: 7)
    #expect(net.reportCount(7) == 0)
    for _ in 0..<3 {
      let instant = SystemClock.monotonic() + .microseconds(1500)
      timer.set(to: instant)
      #expect(net.next(7) == .readable)
      #expect(net.io.now >= instant)
      #expect(net.reportCount(7) == 0)
    }
  }

  @Test func anInstantThatHasPassedIsReportedAtOnceAndANewOneReplacesIt() throws {
    let net = try Loopback()
    let timer = try KernelTimer()
    net.io.register(timer.socket, token: 7)
    timer.set(to: .origin)
    #expect(net.reportCount(7) == 1)
    timer.set(to: .origin)
    timer.set(to: SystemClock.monotonic() + .seconds(3600))
    #expect(net.reportCount(7) == 0)
  }
}
