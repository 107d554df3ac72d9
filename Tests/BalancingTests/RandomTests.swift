// Weighted random: long-run shares match the weights, and a seed repeats them.

import Primitives
import Testing

@testable import Balancing

@Suite struct RandomTests {
  @Test func sharesFollowTheWeights() throws {
    let pool = TestPool(.random, weights: [6, 3, 1])
    let counts = tally(try pool.picks(10_000))
    #expect(abs(counts["a", default: 0] - 6_000) < 250)
    #expect(abs(counts["b", default: 0] - 3_000) < 250)
    #expect(abs(counts["c", default: 0] - 1_000) < 250)
  }

  @Test func theOnlyFreeMemberIsFoundAmongManyFullOnes() throws {
    var shapes = [TestPool.Shape](repeating: .init(limit: 0), count: 200)
    shapes[150].limit = 1
    let pool = TestPool(.random, shapes)
    for _ in 0..<20 {
      let pick = try pool.pick()
      #expect(pick.index == 150)
      pick.release()
    }
  }
}
