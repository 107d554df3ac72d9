// Seeds are different each time.

import Testing

@testable import TLS

@Test("Seeds don't repeat") func seedsDiffer() {
  let seeds = Set((0..<100).map { _ in randomSeed() })
  #expect(seeds.count == 100)
}
