// Messages from other threads: none lost, in order, and the reader woken.

import Primitives
import Reactor
import Testing

@Suite struct InboxTests {
  @Test func messagesOfManyThreadsArriveOnceEachAndInTheirWritersOrder() throws {
    let inbox = try Inbox<(writer: Int, number: Int)>()
    var io = try EpollIO(wakeUp: inbox.wakeUp)
    let threads = try (0..<4).map { writer in
      try Thread(name: "writer") { for number in 0..<1000 { inbox.post((writer, number)) } }
    }
    var next = [0, 0, 0, 0]
    let limit = SystemClock.monotonic() + .seconds(20)
    while next.reduce(0, +) < 4000, SystemClock.monotonic() < limit {
      _ = io.wait(until: limit)
      for message in inbox.take() {
        #expect(message.number == next[message.writer])
        next[message.writer] = message.number + 1
      }
    }
    for thread in threads { thread.join() }
    #expect(next == [1000, 1000, 1000, 1000])
    #expect(inbox.take().isEmpty)
  }
}
