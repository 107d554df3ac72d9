// The checks themselves: each bug of the relay must be found within a few seeds, and for the right
// reason.

import Primitives
import Reactor
import Testing

struct SimulationVerdictTests {
  @Test(arguments: RelayFault.allCases)
  func everyFaultIsFound(_ fault: RelayFault) {
    var found: [String] = []
    for seed: UInt64 in 1...200 where found.isEmpty {
      let run = SimulationRun(seed: seed, role: .relay, level: level(for: fault))
      var relay = PlainRelay(
        io: run.network, listener: run.listener, backends: run.addresses, fault: fault)
      found = run.run(&relay)
    }
    let reasons = reasons(for: fault)
    let isRight = found.contains { line in reasons.contains { line.contains($0) } }
    #expect(isRight, "\(fault) gave \(found)")
  }

  /// Checked as a proxy, a relay violates every rule that is specific to HTTP.
  @Test(arguments: [
    "a hop-by-hop field of the client's", "a hop-by-hop field of the backend's",
    "malformed, and delivered", "malformed answer", "nobody asked for", "sent before the answer",
    "should have been answered: unanswered",
  ])
  func aRelayIsNoProxy(_ reason: String) {
    let isFound = (1...200).contains { (seed: UInt64) in
      var plan = SimulationPlan(
        seed: seed, role: .proxy, level: reason.hasPrefix("should") ? .stale : .storm)
      plan.workerCount = 1
      let run = SimulationRun(plan)
      var relay = PlainRelay(io: run.network, listener: run.listener, backends: run.addresses)
      return run.run(&relay).contains { $0.contains(reason) }
    }
    #expect(isFound)
  }

  /// A shrunk run still fails in the same way, and is smaller.
  @Test func aFailingRunIsMadeShorter() throws {
    func fails(_ plan: SimulationPlan) -> [String] {
      let run = SimulationRun(plan)
      var relay = PlainRelay(
        io: run.network, listener: run.listener, backends: run.addresses, fault: .flipsByte)
      return run.run(&relay).filter { $0.contains("is wrong at byte") }
    }
    let plan = try #require(
      (1...60).lazy.map { SimulationPlan(seed: $0, role: .relay, level: .calm) }
        .first { $0.requests.count > 8 && !fails($0).isEmpty })
    var shrinking = Shrinking(plan, faults: fails(plan), tries: 200, fails: fails)
    let rest = shrinking.shrink()
    #expect(!fails(rest).isEmpty)
    #expect(rest.clients.flatMap(\.ids).count < plan.requests.count / 2)
  }

  private func level(for fault: RelayFault) -> SimulationLevel {
    switch fault {
    case .hidesResets, .sendsTwice, .waitsForEver, .holdsEverything: .storm
    default: .calm
    }
  }

  private func reasons(for fault: RelayFault) -> [String] {
    switch fault {
    case .flipsByte, .dropsByte, .repeatsByte, .mixesUp:
      ["is wrong at byte", "malformed", "looks complete", "nobody", "the answer to", "became"]
    case .hidesResets: ["looks complete"]
    case .holdsEverything: ["are held"]
    case .leaksSocket: ["never closed"]
    case .closesTwice: ["which is closed"]
    case .ignoresWritable, .readsOncePerReport: ["wait for ever", "should have been"]
    case .waitsForEver: ["wait for ever", "never closed"]
    case .sendsTwice: ["delivered twice", "retried after"]
    case .spins: ["busy loop"]
    }
  }
}
