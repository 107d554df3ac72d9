// Slab and Handle: a handle finds its own element or nothing.

import Primitives
import Testing

@Suite struct SlabTests {
  /// An element that counts destroyed elements.
  struct Tenant: ~Copyable {
    final class Tally {
      var destroyed = 0
    }
    var number: Int
    let tally: Tally
    deinit { tally.destroyed += 1 }
  }

  @Test func aHandleReachesItsTenantUntilThatIsRemoved() {
    let tally = Tenant.Tally()
    var slab = Slab<Tenant>(capacity: 2)
    let handle = slab.insert(Tenant(number: 1, tally: tally))
    slab[handle].number += 41
    let (number, known, count) = (slab[handle].number, slab.contains(handle), slab.count)
    #expect(number == 42 && known && count == 1)
    let removed = slab.remove(handle).number
    let (stillKnown, rest) = (slab.contains(handle), slab.count)
    #expect(removed == 42 && !stillKnown && rest == 0 && tally.destroyed == 1)
  }

  @Test func aStaleHandleDoesNotReachTheNextTenantOfItsSlot() {
    let tally = Tenant.Tally()
    var slab = Slab<Tenant>(capacity: 2)
    let first = slab.insert(Tenant(number: 1, tally: tally))
    slab.remove(first)
    let second = slab.insert(Tenant(number: 2, tally: tally))
    #expect(first.index == second.index && first != second)
    let (knowsFirst, knowsSecond) = (slab.contains(first), slab.contains(second))
    #expect(!knowsFirst && knowsSecond)
  }

  @Test func theEmptyHandleAndOneOfAnotherSlabFindNothing() {
    let slab = Slab<Tenant>(capacity: 2)
    let (none, foreign) = (
      slab.contains(.none), slab.contains(Handle(index: 0, generation: 1))
    )
    #expect(!none && !foreign)
  }

  @Test func aHandleSurvivesPackingBesideAKind() {
    let handle = Handle(index: 0xFFFF_FFFE, generation: 0xFF_FFFD)
    #expect(handle.packed >> 56 == 0)
    #expect(Handle(packed: handle.packed | 0xAB << 56) == handle)
  }

  @Test func growingKeepsTenantsAndHandles() {
    let tally = Tenant.Tally()
    var slab = Slab<Tenant>(capacity: 1)
    var handles: [Handle] = []
    for number in 0..<100 { handles.append(slab.insert(Tenant(number: number, tally: tally))) }
    for number in 0..<100 {
      let found = slab[handles[number]].number
      #expect(found == number)
    }
    #expect(tally.destroyed == 0)
  }

  @Test func theSlabDestroysExactlyTheTenantsItStillHas() {
    let tally = Tenant.Tally()
    do {
      var slab = Slab<Tenant>(capacity: 1)
      let first = slab.insert(Tenant(number: 0, tally: tally))
      for number in 1..<10 { _ = slab.insert(Tenant(number: number, tally: tally)) }
      slab.remove(first)
      #expect(tally.destroyed == 1)
    }
    #expect(tally.destroyed == 10)
  }

  @Test func walkingOverTheSlotsFindsTheTenants() {
    let tally = Tenant.Tally()
    var slab = Slab<Tenant>(capacity: 4)
    let handles = (0..<4).map { $0 }.map { slab.insert(Tenant(number: $0, tally: tally)) }
    slab.remove(handles[1])
    var found: [Int] = []
    for slot in 0..<slab.slotCount {
      if let handle = slab.handle(at: slot) { found.append(slab[handle].number) }
    }
    #expect(found == [0, 2, 3])
  }

  @Test func reachingForATenantThatIsGoneTraps() async {
    await #expect(processExitsWith: .failure) {
      var slab = Slab<Int>(capacity: 2)
      let handle = slab.insert(1)
      slab.remove(handle)
      _ = slab.insert(2)
      slab[handle] = 3
    }
  }
}
