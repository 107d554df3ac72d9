// Sticking to a member by its token: before the strategy decides, and only while it is available.

import Primitives
import Testing

@testable import Balancing

@Suite struct StickinessTests {
  /// Members a, b, c and so on with tokens 1, 2, 3.
  private func pool(_ strategy: Strategy, _ shapes: [TestPool.Shape]) -> TestPool {
    let pool = TestPool(strategy, shapes)
    pool.pool.publish(
      pool.pool.membership.members.enumerated().map { index, member in
        Member(
          record: member.record, address: member.address, weight: member.weight,
          tier: member.tier, maxConnections: member.maxConnections,
          stickyToken: UInt64(index + 1))
      })
    return pool
  }

  private func picks(_ pool: TestPool, _ token: UInt64, _ count: Int) throws -> String {
    var letters = ""
    for _ in 0..<count {
      var selection = Selection(stickyToken: token)
      let pick = try pool.next(&selection, client: .loopbackV4)
      letters.append(TestPool.letter(pick))
      pick.release()
    }
    return letters
  }

  @Test(arguments: Strategy.allCases)
  func aClientStaysWithItsMember(strategy: Strategy) throws {
    let pool = pool(strategy, [.init(), .init(), .init()])
    #expect(try picks(pool, 2, 10) == "bbbbbbbbbb")
    #expect(try picks(pool, 3, 3) == "ccc")
  }

  @Test func otherClientsAreBalancedAsUsual() throws {
    let pool = pool(.roundRobin, [.init(), .init(), .init()])
    let first = try picks(pool, 0, 1)
    #expect(try picks(pool, 2, 10) == "bbbbbbbbbb")
    let rest = try picks(pool, 0, 2)
    #expect(Set(first + rest) == ["a", "b", "c"])
  }

  @Test func anUnknownTokenIsIgnored() throws {
    let pool = pool(.roundRobin, [.init(), .init()])
    #expect(tally(try picks(pool, 77, 10)) == ["a": 5, "b": 5])
  }

  @Test func whileTheMemberCannotServeAnotherDoes() throws {
    let pool = pool(.roundRobin, [.init(), .init(limit: 1), .init()])
    pool.check("b", up: false)
    #expect(!(try picks(pool, 2, 10)).contains("b"))
    pool.check("b", up: true)
    let held = try picks(pool, 2, 1)
    #expect(held == "b")
    var selection = Selection(stickyToken: 2)
    let kept = try pool.next(&selection)
    #expect(!(try picks(pool, 2, 10)).contains("b"), "it is full")
    kept.release()
    pool.record("b").adminState = .draining
    #expect(!(try picks(pool, 2, 10)).contains("b"))
  }

  @Test func aRetryGoesElsewhere() throws {
    let pool = pool(.roundRobin, [.init(), .init(), .init()])
    var selection = Selection(stickyToken: 2)
    let letters = try (0..<3).map { _ in TestPool.letter(try pool.next(&selection)) }
    #expect(letters[0] == "b" && Set(letters) == ["a", "b", "c"])
  }

  @Test func thePickHasTheTokenThatTheClientGets() throws {
    let pool = pool(.roundRobin, [.init(), .init()])
    var selection = Selection(stickyToken: 2)
    #expect(try pool.next(&selection).member.stickyToken == 2)
    #expect(try pool.next(&selection).member.stickyToken == 1)
  }

  /// Tokens 1 to 3 belong to a, b and c.
  private func living(_ pool: TestPool, _ tokens: UInt64...) -> UInt64? {
    var all = InlineArray<8, UInt64>(repeating: 0)
    for (index, token) in tokens.enumerated() { all[index] = token }
    return pool.view.living(of: all, at: pool.now)
  }

  @Test func ofSeveralTokensTheFirstOfAnAvailableMemberIsUsed() {
    let pool = pool(.roundRobin, [.init(), .init(), .init()])
    #expect(living(pool, 9, 2, 1) == 2)
    #expect(living(pool, 9) == nil)
    #expect(living(pool) == nil)
    pool.check("b", up: false)
    #expect(living(pool, 9, 2, 1) == 1)
    pool.record("a").adminState = .draining
    #expect(living(pool, 9, 2, 1) == nil && living(pool, 1, 2, 3) == 3)
  }

  @Test func aBoundClientGetsItsMemberWhateverItsHealthWithinTheLimit() throws {
    let pool = pool(.roundRobin, [.init(), .init(limit: 1)])
    pool.check("b", up: false)
    pool.record("b").adminState = .draining
    var selection = Selection()
    let record = pool.record("b")
    let pick = try selection.bound(to: record, in: &pool.view, at: pool.now)
    #expect(TestPool.letter(pick) == "b" && !pick.isTrial)
    #expect(throws: Unavailability.allFull) {
      try selection.bound(to: record, in: &pool.view, at: pool.now).release()
    }
    pick.release()
    let stranger = self.pool(.roundRobin, [.init()]).record("a")
    #expect(throws: Unavailability.noMembers) {
      try selection.bound(to: stranger, in: &pool.view, at: pool.now).release()
    }
  }

  @Test func clientsDoNotStickToABackup() throws {
    let pool = pool(.roundRobin, [.init(), .init(tier: 1)])
    #expect(try picks(pool, 2, 3) == "aaa")
    pool.check("a", up: false)
    var selection = Selection(stickyToken: 1)
    #expect(try pool.next(&selection).member.stickyToken == 0)
  }

  @Test func aClientMayBeTheTrialOfItsMember() throws {
    let pool = pool(.roundRobin, [.init(), .init()])
    pool.fail("b", times: 5)
    #expect(try picks(pool, 2, 2) == "aa")
    pool.now = pool.now + .seconds(10)
    var selection = Selection(stickyToken: 2)
    let trial = try pool.next(&selection)
    #expect(trial.isTrial && TestPool.letter(trial) == "b")
    trial.release()
  }
}
