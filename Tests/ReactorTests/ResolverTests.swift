// Resolving names, without a network.

import Primitives
import Reactor
import Testing

@Suite struct ResolverTests {
  @Test func aNameIsResolvedToItsAddressesWithoutDuplicates() throws {
    let addresses = try Resolver.addresses(of: "localhost")
    #expect(!addresses.isEmpty)
    #expect(addresses.allSatisfy { $0 == .loopbackV4 || $0 == IPAddress("::1") })
    #expect(Set(addresses).count == addresses.count)
    #expect(try Resolver.addresses(of: "192.0.2.7") == [try #require(IPAddress("192.0.2.7"))])
  }

  @Test func aNameWithoutAnAddressFailsWithTheNameAndAReason() {
    // Longer than DNS allows, so that no server is asked.
    let name = String(repeating: "a", count: 300)
    let error = #expect(throws: ResolverError.self) { try Resolver.addresses(of: name) }
    #expect(error?.name == name)
    #expect(error?.reason.isEmpty == false)
  }
}
