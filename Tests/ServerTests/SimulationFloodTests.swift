// Floods of HTTP/2 frames in a simulated world: each ends its connection within its limit, and
// clients beside it are answered as if it weren't there.

import Primitives
import Testing

struct SimulationFloodTests {
  @Test(arguments: SimulatedFlood.allCases, [true, false])
  func aFloodEndsItsConnectionAndHarmsNobody(_ kind: SimulatedFlood, _ isPaced: Bool) {
    for seed: UInt64 in 1...12 {
      var plan = SimulationPlan(seed: seed, role: .proxy, level: .calm)
      plan.conditions = .smooth
      plan.workerCount = 1
      plan.events = []
      for index in plan.configurations.indices {
        plan.configurations[index].requestsPerConnection = 10_000
        plan.configurations[index].connectionMax = 10_000
      }
      plan.floods = [FloodPlan(kind, at: .milliseconds(Int64(seed) * 100), isPaced: isPaced)]
      #expect(SimulationTests.run(plan).faults == [], "seed \(seed)")
    }
  }
}
