// The cost of a pick doesn't grow with the pool.
//
// This measures time, but coarsely: code that looks at all of ten thousand members takes hundreds
// of times as long as a pick from three. The best of many samples shows that even on a busy
// machine. Benchmarks/picks.py has the exact figures.

import Primitives
import Testing

@testable import Balancing

@Suite struct PickCostTests {
  /// The shortest time of a hundred picks, each released at once.
  private func time(_ pool: TestPool) throws -> Duration {
    var least = Duration.seconds(1_000)
    for client in clients(200) {
      let took = try ContinuousClock().measure {
        for _ in 0..<100 { try pool.pick(client: client).release() }
      }
      least = min(least, took)
    }
    return least
  }

  private func time(_ strategy: Strategy, members count: Int) throws -> Duration {
    try time(TestPool(strategy, weights: Array(repeating: 1, count: count)))
  }

  @Test(arguments: Strategy.allCases)
  func ofTenThousandMembersItTakesAboutAsLongAsOfThree(strategy: Strategy) throws {
    let few = try time(strategy, members: 3)
    let many = try time(strategy, members: 10_000)
    #expect(many < few * 20, "\(many) against \(few)")
  }

  @Test func anOutageOfThousandsDoesNotSlowThePicksOfTheRest() throws {
    var health = HealthPolicy()
    health.failures = 1
    health.ejectedPercentMax = 90
    let pool = TestPool(
      .roundRobin, Array(repeating: .init(), count: 10_000), health: health)
    for index in 0..<1_000 {
      let member = pool.pool.membership.members[index]
      var pick = Pick(index: index, member: member, isTrial: false)
      _ = member.record.tryReserve(limit: nil)
      pool.pool.observeExchange(&pick, succeeded: false, at: pool.now)
      pick.release()
    }
    // Their ejections are over, and each is on a trial that doesn't end.
    pool.now = pool.now + .seconds(3_600)
    var trials = 0
    for _ in 0..<50_000 {
      if try pool.pick().isTrial { trials += 1 }
      if trials == 1_000 { break }
    }
    #expect(trials > 900)
    let few = try time(.roundRobin, members: 3)
    let many = try time(pool)
    #expect(many < few * 20, "\(many) against \(few)")
  }
}
