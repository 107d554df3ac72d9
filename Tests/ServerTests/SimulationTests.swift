// The simulation: the server under seeds by the thousand.
//
// scripts/simulate runs it at release speed. That the simulated world itself is sound, and that its
// verdicts see what they are there for, is tested with a byte relay in SimulationVerdictTests.

import Primitives
import Reactor
import Testing

struct SimulationTests {
  @Test func simulationHoldsItsInvariants() async {
    let failures = await SeedRange.chosen.failures(of: Self.failure(ofSeed:))
    for failure in failures { Issue.record(Comment(rawValue: failure)) }
  }

  /// Runs one seed; nil, or what was wrong with it.
  @Sendable static func failure(ofSeed seed: UInt64) -> String? {
    let wantsLog = SeedRange.wantsLog
    let run = SimulationRun(seed: seed, role: .proxy, isLogging: wantsLog)
    guard
      var server = try? SimulatedWorker(
        io: run.network, listener: run.listener, backends: run.addresses, seed: seed)
    else { return "seed \(seed): no descriptor is left for the worker's inbox" }
    let faults = run.run(&server)
    if wantsLog { print((run.network.log ?? []).joined(separator: "\n")) }
    if faults.isEmpty { return nil }
    return "seed \(seed) (\(run.level)):\n  " + faults.joined(separator: "\n  ")
  }

  @Test func equalSeedsGiveEqualRuns() throws {
    for seed: UInt64 in 1...12 {
      var traces: [UInt64] = []
      for _ in 0..<2 {
        let run = SimulationRun(seed: seed, role: .proxy)
        var server = try SimulatedWorker(
          io: run.network, listener: run.listener, backends: run.addresses, seed: seed)
        _ = run.run(&server)
        traces.append(run.network.trace)
      }
      #expect(traces[0] == traces[1], "seed \(seed)")
    }
  }
}
