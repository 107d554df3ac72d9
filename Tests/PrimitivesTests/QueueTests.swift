// Queue: first in, first out, for every sequence of operations.

import Primitives
import Testing

@Suite struct QueueTests {
  @Test func anEmptyQueueHasNothing() {
    var queue = Queue<Int>()
    #expect(queue.isEmpty && queue.count == 0 && queue.first == nil && queue.popFirst() == nil)
  }

  @Test func itAgreesWithAnArrayWhateverIsDone() {
    var generator = RandomGenerator(seed: 11)
    var queue = Queue<Int>()
    var model: [Int] = []
    for step in 0..<50_000 {
      // Long runs of both operations, so that the queue grows to hundreds and shrinks to zero.
      if generator.chance(step / 1000 % 2 == 0 ? 3 : 1, in: 4) {
        queue.append(step)
        model.append(step)
      } else {
        let expected = model.isEmpty ? nil : model.removeFirst()
        #expect(queue.popFirst() == expected)
      }
      #expect(queue.count == model.count && queue.first == model.first)
    }
  }
}
