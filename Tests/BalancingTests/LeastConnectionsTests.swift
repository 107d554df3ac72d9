// Least connections: the emptiest for its weight, and turns among equals.

import Primitives
import Testing

@testable import Balancing

@Suite struct LeastConnectionsTests {
  /// Picks `count` times and keeps all places.
  private func held(_ pool: TestPool, _ count: Int) throws -> [Character: Int] {
    var held = HeldPicks()
    for _ in 0..<count { held.hold(try pool.pick()) }
    return tally(held.letters)
  }

  @Test func theEmptiestMemberIsPicked() throws {
    let pool = TestPool(.leastConnections, weights: [1, 1, 1])
    for _ in 0..<2 { _ = pool.record("a").tryReserve(limit: nil) }
    _ = pool.record("c").tryReserve(limit: nil)
    #expect(try pool.picks(5) == "bbbbb")
  }

  @Test func heldExchangesFillTheMembersByWeight() throws {
    let pool = TestPool(.leastConnections, weights: [3, 2, 1])
    #expect(try held(pool, 60) == ["a": 30, "b": 20, "c": 10])
  }

  @Test func anIdlePoolIsUsedEvenly() throws {
    let pool = TestPool(.leastConnections, weights: [1, 1, 1])
    #expect(tally(try pool.picks(30)) == ["a": 10, "b": 10, "c": 10])
  }

  @Test func anIdlePoolIsUsedByWeight() throws {
    let pool = TestPool(.leastConnections, weights: [3, 1])
    #expect(tally(try pool.picks(40)) == ["a": 30, "b": 10])
  }

  @Test func theIdleOnesShareEvenlyBesideABusyOne() throws {
    let pool = TestPool(.leastConnections, weights: [1, 1, 1])
    _ = pool.record("a").tryReserve(limit: nil)
    #expect(tally(try pool.picks(30)) == ["b": 15, "c": 15])
  }

  @Test func fullAndTriedMembersArePassedOver() throws {
    let pool = TestPool(.leastConnections, [.init(limit: 0), .init(), .init()])
    _ = pool.record("c").tryReserve(limit: nil)
    var selection = Selection()
    #expect(TestPool.letter(try pool.next(&selection)) == "b")
    #expect(TestPool.letter(try pool.next(&selection)) == "c")
  }
}
