// The simulation: the server with thousands of seeds.
//
// scripts/simulate runs it at release speed. SimulationVerdictTests uses a byte relay to test that
// the simulated world itself is correct and that its checks find bugs.

import Primitives
import Reactor
import Testing

struct SimulationTests {
  @Test func simulationHoldsItsInvariants() async {
    let failures = await SeedRange.chosen.failures(of: Self.failure(ofSeed:))
    for failure in failures { Issue.record(Comment(rawValue: failure)) }
  }

  /// Runs one seed; nil, or its faults and the shortest failing run that was found.
  @Sendable static func failure(ofSeed seed: UInt64) -> String? {
    let plan = SimulationPlan(seed: seed, role: .proxy)
    let (faults, log) = run(plan, isLogging: SeedRange.wantsLog)
    if SeedRange.wantsLog { print(log.joined(separator: "\n")) }
    if faults.isEmpty { return nil }
    var text = "seed \(seed) (\(plan.level)):\n  " + faults.joined(separator: "\n  ")
    if SeedRange.shrinks {
      var shrinking = Shrinking(plan, faults: faults) { run($0).faults }
      let (rest, log) = run(shrinking.shrink(), isLogging: true)
      text += "\nwhat is left of it fails with\n  " + rest.joined(separator: "\n  ")
      text += "\nand this happens:\n  " + log.joined(separator: "\n  ")
    }
    return text
  }

  static func run(
    _ plan: SimulationPlan, isLogging: Bool = false
  ) -> (faults: [String], log: [String]) {
    let run = SimulationRun(plan, isLogging: isLogging)
    guard var server = try? SimulatedWorkers(of: run) else {
      return (["no descriptor is left for the workers' inboxes"], [])
    }
    let faults = run.run(&server)
    return (faults, run.network.log ?? [])
  }

  @Test func equalSeedsGiveEqualRuns() throws {
    for seed: UInt64 in 1...24 {
      var traces: [UInt64] = []
      var logs: [[String]] = []
      for _ in 0..<2 {
        let run = SimulationRun(seed: seed, role: .proxy, isLogging: true)
        var server = try SimulatedWorkers(of: run)
        _ = run.run(&server)
        traces.append(run.network.trace)
        logs.append(run.network.log ?? [])
      }
      let difference = zip(logs[0], logs[1]).first { $0 != $1 }
      #expect(traces[0] == traces[1], "seed \(seed): \(String(describing: difference))")
    }
  }
}
