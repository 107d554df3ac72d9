// The backends that the registry knows: the members, and the last that left.

import Primitives
import Testing

@testable import Balancing

@Suite struct LeavingBackendsTests {
  private let registry = BackendRegistry()

  private func pool(_ addresses: [String], called name: String = "app") -> Pool {
    let members = addresses.map {
      Member(
        record: registry.backend(pool: name, address: $0), address: .ip(.loopbackV4, port: 1))
    }
    return Pool(registry.pool(name), strategy: .roundRobin, members: members)
  }

  private func settle(_ addresses: [String]) -> [String] {
    registry.settle(on: [pool(addresses)]).map(\.identity.address)
  }

  @Test func aBackendThatComesBackSoonIsTheSame() {
    let record = registry.backend(pool: "app", address: "a")
    record.adminState = .draining
    #expect(settle(["a"]) == [])
    #expect(settle(["b"]) == [])
    #expect(settle(["a"]) == [])
    #expect(registry.backend(pool: "app", address: "a") === record)
  }

  @Test func ofThoseThatLeftTheFirstAreForgotten() {
    let max = BackendRegistry.leftMax
    #expect(settle(["a"]) == [])
    let first = registry.backend(pool: "app", address: "a")
    // One of them is busy, as with a WebSocket.
    let busy = registry.backend(pool: "app", address: "0")
    #expect(busy.tryReserve(limit: nil))
    for number in 0..<max { #expect(settle(["\(number)"]) == []) }
    // It comes back, and leaves as the last.
    #expect(settle(["1"]) == [])
    #expect(settle(["x"]) == ["a"])
    #expect(settle(["y"]) == ["2"])
    busy.release()
    #expect(settle(["z"]) == ["0"])
    #expect(registry.states.count == max + 1)
    let again = registry.backend(pool: "app", address: "a")
    #expect(again !== first && again.id != first.id)
  }

  @Test func anIDIsFreeWhenItsRecordIsFreed() {
    var held: BackendRecord? = registry.backend(pool: "app", address: "a")
    let id = held?.id
    let mark = registry.mark
    let refused = registry.backend(pool: "app", address: "b").id
    registry.forget(since: mark)
    #expect(registry.backend(pool: "app", address: "c").id == refused)
    for number in 0...BackendRegistry.leftMax { _ = settle(["\(number)"]) }
    // It is forgotten, but something still uses it.
    #expect(held !== registry.backend(pool: "app", address: "a"))
    let count = registry.idCount
    #expect(registry.backend(pool: "app", address: "d").id == count)
    withExtendedLifetime(held) {}
    held = nil
    #expect(registry.backend(pool: "app", address: "e").id == id)
    #expect(registry.idCount == count + 1)
  }

  @Test func idsStayBelowTheNumberOfBackendsThatExist() {
    for number in 0..<3000 { _ = settle(["\(number)"]) }
    #expect(registry.idCount <= BackendRegistry.leftMax + 2)
  }

  @Test func aPoolIsKnownAsLongAsItIsConfiguredOrHasBackends() {
    let empty = registry.pool("empty")
    let gone = registry.pool("gone")
    _ = registry.settle(on: [pool(["a"], called: "gone"), pool([], called: "empty"), pool([])])
    for number in 0...BackendRegistry.leftMax {
      _ = registry.settle(on: [pool(["\(number)"]), pool([], called: "empty")])
    }
    #expect(registry.pool("empty") === empty)
    #expect(registry.pool("gone") !== gone)
  }

  @Test func aConfigurationThatIsRefusedLeavesNothing() {
    var policy = HealthPolicy()
    _ = registry.backend(pool: "app", address: "a", health: policy)
    let mark = registry.mark
    policy.initial = .down
    let known = registry.backend(pool: "app", address: "a", health: policy)
    let refused = registry.backend(pool: "app", address: "b", health: policy)
    #expect(refused.standing(at: .origin) == .down)
    registry.forget(since: mark)
    policy.initial = .up
    #expect(registry.backend(pool: "app", address: "a", health: policy) === known)
    let fresh = registry.backend(pool: "app", address: "b", health: policy)
    #expect(fresh.standing(at: .origin) == .available)
    #expect(fresh.id != refused.id)
  }
}
