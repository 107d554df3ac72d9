// Bugs that the simulation has found, each in the smallest world in which it shows.

import Primitives
import Testing

struct SimulationRegressionTests {
  /// One client that takes long over everything, and one request.
  private func slowWorld(seed: UInt64, _ change: (inout SimulationPlan) -> Void) -> [String] {
    var plan = SimulationPlan(seed: seed, role: .proxy, level: .calm)
    plan.conditions = .smooth
    plan.conditions.capacityBits = 8...8
    plan.conditions.latency = 50_000...50_000
    plan.workerCount = 1
    plan.policy = PolicyPlan()
    plan.backends = [BackendPlan(index: 0, seed: seed, isReliable: true)]
    plan.requests = [RequestPlan(id: 0)]
    plan.clients = [ClientPlan(ids: [0], seed: seed, isSmall: false)]
    plan.configurations = [ConfigurationPlan(backendCount: 1)]
    plan.events = []
    change(&plan)
    return SimulationTests.run(plan).faults
  }

  @Test func aDrainWaitsForAClientThatTakesItsLastAnswer() {
    for seed: UInt64 in 1...150 {
      let faults = slowWorld(seed: seed) { plan in
        // In some of these the server has the whole answer soon, and only the client is slow.
        plan.conditions.capacityBits = 8...17
        plan.events = [WorldEvent(time: .milliseconds(1_000), kind: .drain)]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  @Test func aCheckWhoseRequestIsSentInPartsStillPasses() {
    for seed: UInt64 in 1...10 {
      let faults = slowWorld(seed: seed) { plan in
        plan.conditions.capacityBits = 4...4
        plan.conditions.latency = 4_000...4_000
        plan.policy.checks = .requests
        // The first takes so long that three checks could have failed before the second.
        plan.requests = [RequestPlan(id: 0), RequestPlan(id: 1)]
        plan.requests[0].method = .PUT
        plan.requests[0].framing = .length
        plan.requests[0].size = 40_000
        plan.clients[0].ids = [0, 1]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  @Test func whatIsToldToAWorkerThatHasEndedIsNotHeard() {
    for seed: UInt64 in 1...10 {
      let faults = slowWorld(seed: seed) { plan in
        plan.policy.checks = .dials
        plan.events = [
          WorldEvent(time: .milliseconds(10), kind: .drain),
          WorldEvent(time: .milliseconds(10), kind: .reload(0)),
        ]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  @Test func aReloadLeavesTheBodyLimitOfARequestUnderWayAlone() {
    for seed: UInt64 in 1...10 {
      let faults = slowWorld(seed: seed) { plan in
        plan.requests[0].method = .PUT
        plan.requests[0].framing = .chunked
        plan.requests[0].size = 20_000
        plan.configurations.append(plan.configurations[0])
        plan.configurations[1].bodyMax = 500
        plan.events = [WorldEvent(time: .milliseconds(3_000), kind: .reload(1))]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }
}
