// The idle connections to backends that belong to one client's connection.

import Primitives
import Testing

@testable import Server

@Suite struct OwnConnectionsTests {
  private func handle(_ index: UInt32) -> Handle { Handle(index: index, generation: 1) }

  @Test func onlyTheirClientGetsThemTheMostRecentlyUsedFirst() {
    var own = OwnConnections()
    let (alice, bob) = (handle(1), handle(2))
    own.push(handle(10), to: 5, of: alice)
    own.push(handle(11), to: 5, of: alice)
    own.push(handle(12), to: 6, of: alice)
    own.push(handle(13), to: 5, of: bob)
    #expect(own.pop(5, of: alice) == handle(11))
    #expect(own.pop(5, of: alice) == handle(10))
    #expect(own.pop(5, of: alice) == nil)
    #expect(own.count(of: alice) == 1 && own.count(of: bob) == 1)
    // The handle of a connection that has ended is used again with another generation.
    #expect(own.pop(5, of: Handle(index: 2, generation: 2)) == nil)
    #expect(own.pop(5, of: bob) == handle(13))
  }

  @Test func theyEndWithTheirClient() {
    var own = OwnConnections()
    let alice = handle(1)
    for index in 10..<13 as Range<UInt32> { own.push(handle(index), to: 5, of: alice) }
    own.remove(handle(11), of: alice)
    own.name(alice, [1, 2])
    #expect(own.id(of: alice) == [1, 2])
    #expect(own.end(alice) == [handle(10), handle(12)])
    #expect(own.end(alice) == [] && own.id(of: alice) == nil)
  }
}
