// The checks of TCP connections in the simulation: a correct relay has no faults, and each bug of a
// relay is found, for the right reason.

import Primitives
import Reactor
import Testing

@testable import Server

struct SimulationFlowTests {
  /// A run with connections of one TCP listener only, in front of a relay.
  private func plan(seed: UInt64, level: SimulationLevel) -> SimulationPlan {
    var plan = SimulationPlan(seed: seed, role: .proxy, level: level)
    plan.drawLayer4(share: 8)
    plan.workerCount = 1
    plan.events = []
    plan.clients = []
    plan.requests = []
    plan.crowds = []
    plan.floods = []
    plan.conditions.exhaustion = 0
    plan.configurations = [plan.configurations[0]]
    plan.layer4.listeners = [
      TCPListenerPlan(pool: 0, takesHeaders: false, address: plan.layer4.listeners[0].address)
    ]
    var pool = TCPPoolPlan()
    (pool.idle, pool.relayIdle) = (.seconds(60), .seconds(60))
    plan.layer4.pools = [pool]
    plan.configurations[0].layer4 = Layer4Configuration()
    plan.configurations[0].layer4.pools = [Array(plan.layer4.backends.indices)]
    plan.configurations[0].layer4.listeners = [true]
    // More than all buffers together hold, where that doesn't take long.
    let factor = plan.conditions.bodyMax < 200_000 ? 1 : 8
    plan.flows = plan.flows.map { flow in
      var copy = TCPFlowPlan(id: flow.id, seed: flow.seed, listener: 0, time: flow.time)
      copy.upSize = min(flow.upSize * factor, 2_000_000)
      copy.downSize = min(flow.downSize * factor, 2_000_000)
      copy.dialogue = flow.dialogue
      (copy.clientEnd, copy.backendEnd) = (flow.clientEnd, flow.backendEnd)
      (copy.clientDeafness, copy.backendDeafness) = (flow.clientDeafness, flow.backendDeafness)
      return copy
    }
    return plan
  }

  private func faults(
    seed: UInt64, level: SimulationLevel, _ fault: RelayFault? = nil
  ) -> [String] {
    let run = SimulationRun(plan(seed: seed, level: level))
    let socket = run.network.listen(on: run.plan.layer4.listeners[0].address)
    let addresses = run.plan.layer4.backends.map { SimulatedTCPBackend.address(of: $0.index) }
    var relay = PlainRelay(io: run.network, listener: socket, backends: addresses, fault: fault)
    return run.run(&relay)
  }

  @Test func aCorrectRelayHasNoFaults() {
    for seed: UInt64 in 1...200 {
      let found = faults(seed: seed, level: .calm)
      #expect(found == [], "seed \(seed)")
      if found != [] { break }
    }
  }

  @Test(arguments: [
    (RelayFault.flipsByte, "is wrong at byte"), (.dropsByte, "is wrong at byte"),
    (.repeatsByte, "is wrong at byte"), (.hidesResets, "gets a FIN"),
    (.holdsEverything, "are held"), (.leaksSocket, "never closed"), (.closesTwice, "is closed"),
    (.ignoresWritable, "with something that could be moved"),
    (.readsOncePerReport, "with something that could be moved"), (.sendsTwice, "and on"),
    (.waitsForEver, "wait for ever"), (.spins, "busy loop"),
    (.mixesUp, "is wrong at byte"),
  ])
  func everyFaultIsFound(_ fault: RelayFault, _ reason: String) {
    var found: [String] = []
    for seed: UInt64 in 1...300 where !found.contains(where: { $0.contains(reason) }) {
      found = faults(seed: seed, level: .storm, fault)
    }
    #expect(found.contains { $0.contains(reason) }, "\(fault) gave \(found)")
  }
}
