// Which backend is the last available one of its pool, and when a pool has none.

import Primitives
import Testing

@testable import Balancing

@Suite("Availability of a pool")
struct AvailabilityTests {
  @Test("the last available backend is known, for every reason why others are unavailable")
  func last() {
    let test = TestPool(.roundRobin, weights: [1, 1, 1])
    #expect(!test.pool.isLastAvailable(test.record("a")))
    test.record("b").setAdminState(.draining, at: test.now)
    test.check("c", up: false)
    #expect(test.pool.isLastAvailable(test.record("a")))
    // A backend that is not available does not change this.
    #expect(!test.pool.isLastAvailable(test.record("b")))
    #expect(!test.pool.isLastAvailable(test.record("c")))
  }

  @Test("the loss and the return of the last backend are noted once each")
  func noted() {
    let test = TestPool(.roundRobin, weights: [1, 1])
    #expect(test.pool.noteAvailability() == nil)
    test.record("a").setAdminState(.disabled, at: test.now)
    #expect(test.pool.noteAvailability() == nil)
    test.check("b", up: false)
    #expect(test.pool.noteAvailability() == .lost)
    #expect(test.pool.noteAvailability() == nil)
    test.record("a").setAdminState(.enabled, at: test.now)
    #expect(test.pool.noteAvailability() == .regained)
    #expect(test.pool.noteAvailability() == nil)
  }

  @Test("the time of an operator's change moves only with another state")
  func changedAt() {
    let test = TestPool(.roundRobin, weights: [1])
    test.record("a").setAdminState(.enabled, at: test.now)
    #expect(test.record("a").adminChangedAt == .origin)
    test.record("a").setAdminState(.draining, at: test.now)
    test.record("a").setAdminState(.draining, at: test.now + .seconds(5))
    #expect(test.record("a").adminChangedAt == test.now)
  }
}
