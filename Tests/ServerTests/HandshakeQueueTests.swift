// HandshakeQueue: the number in progress, the oldest, and the next.

import Primitives
import Testing

@testable import Server

@Suite struct HandshakeQueueTests {
  private func handle(_ index: UInt32) -> Handle { Handle(index: index, generation: 1) }

  @Test func theOldestIsTheFirstThatBegan() {
    var queue = HandshakeQueue()
    for index in 0..<3 as Range<UInt32> { queue.began(handle(index)) }
    #expect(queue.count == 3 && queue.oldest == handle(0))
    queue.ended()
    queue.forgetOldest()
    #expect(queue.count == 2 && queue.oldest == handle(1))
  }

  @Test func nothingIsKeptOfHandshakesOnceAllHaveEnded() {
    var queue = HandshakeQueue()
    for index in 0..<3 as Range<UInt32> { queue.began(handle(index)) }
    for _ in 0..<3 { queue.ended() }
    #expect(queue.count == 0 && queue.oldest == nil)
  }

  @Test func theFirstToWaitIsServedFirst() {
    var queue = HandshakeQueue()
    #expect(!queue.hasReady && queue.popReady() == nil)
    queue.wait(handle(7))
    queue.wait(handle(3))
    #expect(queue.hasReady)
    #expect(queue.popReady() == handle(7) && queue.popReady() == handle(3))
    #expect(!queue.hasReady)
  }
}
