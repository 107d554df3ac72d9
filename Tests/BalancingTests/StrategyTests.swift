// Strategy: the names in the configuration.

import Testing

@testable import Balancing

@Suite struct StrategyTests {
  @Test(arguments: Strategy.allCases)
  func eachStrategyIsFoundByItsName(strategy: Strategy) {
    #expect(Strategy(name: "\(strategy.name)") == strategy)
  }

  @Test func anUnknownNameIsNoStrategy() {
    #expect(Strategy(name: "round_robin") == nil && Strategy(name: "") == nil)
  }
}
