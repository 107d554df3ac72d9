// RandomGenerator: repeatable from its seed, within its bounds, and evenly distributed.

import Primitives
import Testing

@Suite struct RandomGeneratorTests {
  @Test func theSameSeedGivesTheSameNumbersAndAnotherOneOthers() {
    var first = RandomGenerator(seed: 1)
    var second = RandomGenerator(seed: 1)
    var third = RandomGenerator(seed: 2)
    let numbers = (0..<10).map { _ in first.next() }
    #expect(numbers == (0..<10).map { _ in second.next() })
    #expect(numbers != (0..<10).map { _ in third.next() })
  }

  @Test func numbersBelowABoundReachEachValueAboutEquallyOften() {
    var generator = RandomGenerator(seed: 5)
    var counts = [Int](repeating: 0, count: 10)
    for _ in 0..<10_000 { counts[generator.next(below: 10)] += 1 }
    for count in counts { #expect(abs(count - 1_000) < 150) }
    #expect(generator.next(below: 1) == 0)
  }
}
