// Admission: exact limits with any number of threads.

import Dispatch
import Primitives
import Synchronization
import Testing

@testable import Server

@Suite struct AdmissionTests {
  private let first = IPAddress(v4: 1)
  private let second = IPAddress(v4: 2)

  @Test func theLimitIsExactAlsoAfterOneLeaves() {
    let admission = Admission()
    for _ in 0..<3 {
      #expect(admission.enter(nil, max: 3, maxPerAddress: nil) == .admitted)
    }
    #expect(admission.enter(nil, max: 3, maxPerAddress: nil) == .full)
    #expect(admission.count == 3)
    admission.leave(nil)
    #expect(admission.enter(nil, max: 3, maxPerAddress: nil) == .admitted)
  }

  @Test func anAddressHasItsOwnLimit() {
    let admission = Admission()
    for _ in 0..<2 {
      #expect(admission.enter(first, max: 10, maxPerAddress: 2) == .admitted)
    }
    #expect(admission.enter(first, max: 10, maxPerAddress: 2) == .addressFull)
    #expect(admission.enter(second, max: 10, maxPerAddress: 2) == .admitted)
    // Refused clients don't count.
    #expect(admission.count == 3)
    admission.leave(first)
    #expect(admission.enter(first, max: 10, maxPerAddress: 2) == .admitted)
  }

  @Test func aLaterLimitCountsExistingClients() {
    let admission = Admission()
    for _ in 0..<5 {
      #expect(admission.enter(first, max: 10, maxPerAddress: nil) == .admitted)
    }
    #expect(admission.enter(first, max: 10, maxPerAddress: 5) == .addressFull)
    #expect(admission.enter(nil, max: 5, maxPerAddress: 5) == .full)
  }

  @Test func addressesOfOneIPv6NetworkAreOneClient() throws {
    let a = try #require(IPAddress("2001:db8:1:2::1"))
    let b = try #require(IPAddress("2001:db8:1:2:ffff::2"))
    let c = try #require(IPAddress("2001:db8:1:3::1"))
    #expect(a.clientBlock == b.clientBlock)
    #expect(a.clientBlock != c.clientBlock)
    let mapped = try #require(IPAddress("::ffff:192.0.2.1"))
    #expect(mapped.clientBlock == IPAddress("192.0.2.1"))
  }

  @Test func manyThreadsNeverGoBeyondTheLimitsTogether() {
    let admission = Admission()
    let mostInAll = Atomic<Int>(0)
    let mostOfOne = Atomic<Int>(0)
    let ofFirst = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 8) { thread in
      var generator = RandomGenerator(seed: UInt64(thread))
      for _ in 0..<5000 {
        let isFirst = generator.chance(1, in: 2)
        let address = isFirst ? first : IPAddress(v4: UInt32(thread + 10))
        guard admission.enter(address, max: 6, maxPerAddress: 3) == .admitted else { continue }
        mostInAll.max(admission.count, ordering: .relaxed)
        if isFirst {
          mostOfOne.max(ofFirst.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
          ofFirst.subtract(1, ordering: .relaxed)
        }
        admission.leave(address)
      }
    }
    #expect(admission.count == 0)
    #expect(mostInAll.load(ordering: .relaxed) <= 6)
    #expect(mostOfOne.load(ordering: .relaxed) <= 3)
    // Nothing is left of any client.
    #expect(admission.enter(first, max: 1, maxPerAddress: 1) == .admitted)
  }
}
