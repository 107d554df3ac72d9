// Least connections: the least busy member for its weight, and turns among equals.

import Primitives
import Testing

@testable import Balancing

@Suite struct LeastConnectionsTests {
  /// Picks `count` times and keeps all slots.
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

  // MARK: Large pools

  /// How often each member was picked, by its index; the slots are kept, or released at once.
  private func counts(_ pool: TestPool, of picks: Int, keeping: Bool) throws -> [Int] {
    var counts = [Int](repeating: 0, count: pool.pool.membership.members.count)
    for _ in 0..<picks {
      let pick = try pool.pick()
      counts[pick.index] += 1
      if !keeping { pick.release() }
    }
    return counts
  }

  @Test func aLargeIdlePoolIsUsedEvenlyAndByWeight() throws {
    let even = TestPool(.leastConnections, weights: Array(repeating: 1, count: 1_000))
    #expect(try counts(even, of: 3_000, keeping: false).allSatisfy { $0 == 3 })
    let weights = (0..<40).map { $0 % 2 == 0 ? 3 : 1 }
    let uneven = TestPool(.leastConnections, weights: weights)
    #expect(try counts(uneven, of: 160, keeping: false) == weights.map { 2 * $0 })
  }

  @Test func busyMembersOfALargePoolAreAvoided() throws {
    let pool = TestPool(.leastConnections, weights: Array(repeating: 1, count: 1_000))
    for member in pool.pool.membership.members[..<300] {
      for _ in 0..<50 { _ = member.record.tryReserve(limit: nil) }
    }
    let counts = try counts(pool, of: 7_000, keeping: true)
    // All five sampled members are busy once in 400 picks; round robin would pick those 2,100
    // times.
    #expect(counts[..<300].reduce(0, +) <= 50)
    #expect(counts[300...].allSatisfy { (7...13).contains($0) })
  }

  @Test func heldExchangesFillALargePoolByWeight() throws {
    let weights = (0..<100).map { $0 % 2 == 0 ? 3 : 1 }
    let counts = try counts(
      TestPool(.leastConnections, weights: weights), of: 2_000, keeping: true)
    for (weight, count) in zip(weights, counts) { #expect(abs(count - 10 * weight) <= 4) }
  }

  @Test func theOneFreeMemberOfALargePoolIsFound() throws {
    var shapes = Array(repeating: TestPool.Shape(limit: 0), count: 500)
    shapes[77].limit = 1
    let pool = TestPool(.leastConnections, shapes)
    #expect(try pool.pick().index == 77)
    #expect(throws: Unavailability.allFull) { _ = try pool.pick() }
  }
}
