// The state of a backend, restored from another process.

import Primitives
import Testing

@testable import Balancing

@Suite struct BackendStateTests {
  private let now = Instant.origin + .seconds(1_000)

  @Test func aBackendBeginsAsTheOtherProcessLeftIt() throws {
    let old = BackendRegistry()
    let policy = HealthPolicy()
    let down = old.backend(pool: "app", address: "a", health: policy)
    let ejected = old.backend(pool: "app", address: "b", health: policy)
    let drained = old.backend(pool: "other", address: "a", health: policy)
    down.health.update { state in
      for _ in 0..<policy.fall { _ = state.observeCheck(passed: false, policy) }
    }
    ejected.health.update { _ = $0.eject(policy, at: now) }
    ejected.didFlip(.ejected(until: now, inRow: 1), at: now)
    drained.adminState = .draining
    drained.weightOverride = 7

    let new = BackendRegistry()
    for state in old.states { new.restore(state) }
    // By configuration, backends begin as down; the restored state takes precedence.
    var initially = HealthPolicy()
    initially.initial = .down
    func found(_ pool: String, _ address: String) -> BackendRecord {
      new.backend(pool: pool, address: address, health: initially)
    }
    #expect(found("app", "a").standing(at: now) == .down)
    #expect(found("app", "b").standing(at: now) == ejected.standing(at: now))
    #expect(found("app", "b").changedAt == now)
    #expect(found("other", "a").standing(at: now) == .available)
    #expect(found("other", "a").adminState == .draining)
    #expect(found("other", "a").weightOverride == 7)
    #expect(found("app", "c").standing(at: now) == .down)
    #expect(new.states.prefix(3) == old.states.prefix(3))
  }

  @Test func aTrialUnderWayIsTheOtherProcesssOwn() throws {
    let old = BackendRegistry()
    let policy = HealthPolicy()
    let record = old.backend(pool: "app", address: "a")
    record.health.update { _ = $0.eject(policy, at: now) }
    let later = now + policy.ejectionSpan(1)
    #expect(record.health.update { $0.claimTrial(at: later) })
    #expect(record.standing(at: later) == .beingTried)
    let new = BackendRegistry()
    for state in old.states { new.restore(state) }
    #expect(new.backend(pool: "app", address: "a").standing(at: later) == .onTrial)
  }
}
