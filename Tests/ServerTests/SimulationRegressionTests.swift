// Bugs that the simulation has found, each in the smallest world that shows it, and situations that
// seeds rarely produce.

import Primitives
import Testing

@testable import Server

struct SimulationRegressionTests {
  /// One client that is slow in everything, and one request.
  private func slowWorld(
    seed: UInt64, level: SimulationLevel = .calm, _ change: (inout SimulationPlan) -> Void
  ) -> [String] {
    var plan = SimulationPlan(seed: seed, role: .proxy, level: level)
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
    plan.crowds = []
    change(&plan)
    return SimulationTests.run(plan).faults
  }

  @Test func aDrainWaitsForAClientThatTakesItsLastAnswer() {
    for seed: UInt64 in 1...150 {
      let faults = slowWorld(seed: seed) { plan in
        // In some of these the server soon has the whole response, and only the client is slow.
        plan.conditions.capacityBits = 8...17
        plan.events = [WorldEvent(time: .milliseconds(1_000), kind: .drain)]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  /// A request is on its way for seconds when the server drains. It comes before the answer to the
  /// PING, so it is served.
  @Test func aDrainWaitsForARequestThatIsOnItsWay() {
    for seed: UInt64 in 1...100 {
      let faults = slowWorld(seed: seed) { plan in
        plan.conditions.capacityBits = 6...6
        plan.requests = [RequestPlan(id: 0), RequestPlan(id: 1)]
        plan.clients = [ClientPlan(ids: [0, 1], seed: seed, isSmall: true)]
        plan.clients[0].speakHTTP2(HTTP2Conduct())
        plan.clients[0].restMax = .seconds(5)
        var random = RandomGenerator(seed: seed)
        for id in 0..<2 {
          plan.requests[id].method = .HEAD
          plan.requests[id].speakHTTP2(HTTP2Conduct(), level: .calm, random: &random)
        }
        plan.events = [WorldEvent(time: .milliseconds(3_500), kind: .drain)]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  /// The server has the whole response when it drains. Its deadline for the next request comes in
  /// the same turn as the report that the client has taken some more.
  @Test func anIdleDeadlineDoesNotCutTheLastAnswer() {
    for seed: UInt64 in 2_500...2_550 {
      let faults = slowWorld(seed: seed) { plan in
        plan.conditions.capacityBits = 10...17
        plan.conditions.latency = 25_000...50_000
        // Each turn takes so long that several things are due after it.
        plan.conditions.turnCost = 20_000
        plan.conditions.wakeUps = 200
        plan.events = [WorldEvent(time: .milliseconds(2_500), kind: .drain)]
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

  /// The configuration is installed while the only backend is down, so the workers must learn of
  /// its return.
  @Test(arguments: 1...3) func workersNoticeAReturnAfterAReload(_ workerCount: Int) {
    for seed: UInt64 in 1...10 {
      let faults = slowWorld(seed: seed) { plan in
        plan.workerCount = workerCount
        plan.conditions.capacityBits = 16...16
        plan.requests = (0..<12).map { RequestPlan(id: $0) }
        plan.clients = (0..<6).map { index in
          let ids = [2 * index, 2 * index + 1]
          return ClientPlan(ids: ids, seed: seed * 8 + UInt64(index), isSmall: false)
        }
        plan.events = [
          WorldEvent(time: .milliseconds(1), kind: .flip(backend: 0, isUp: false)),
          WorldEvent(time: .milliseconds(2), kind: .reload(0)),
          WorldEvent(time: .milliseconds(40), kind: .flip(backend: 0, isUp: true)),
        ]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  /// With a body larger than all buffers, the server waits for the backend, not for the client.
  @Test func aBackendThatStopsReadingIsGivenItsTime() {
    for seed: UInt64 in 1...300 {
      let faults = slowWorld(seed: seed, level: .storm) { plan in
        plan.conditions.capacityBits = 16...16
        plan.conditions.latency = 100...100
        // Requests with odd numbers meet backends that stop reading.
        plan.requests = [RequestPlan(id: 0), RequestPlan(id: 1)]
        plan.requests[1].method = .PUT
        plan.requests[1].framing = .length
        plan.requests[1].size = 600_000
        plan.clients[0].ids = [1]
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  /// The backend has begun to respond, so no other may be tried, and the answer is still 504.
  @Test func aTimeOutWithinAHeadIsATimeOut() {
    for seed: UInt64 in 1...50 {
      let faults = slowWorld(seed: seed) { plan in
        // The request takes about four seconds to arrive, and the head comes in two parts.
        plan.conditions.capacityBits = 6...6
        plan.conditions.latency = 500_000...500_000
        plan.configurations[0].responseLimit = .seconds(5)
        // A body would be too slow on the client's side.
        plan.requests[0].method = .HEAD
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  /// A later reset by the backend is not the reason why the request failed.
  @Test func aResetAfterATimeOutIsNotItsCause() {
    for seed: UInt64 in 1...400 {
      let faults = slowWorld(seed: seed, level: .stale) { plan in
        plan.conditions.capacityBits = 16...16
        plan.conditions.latency = 100...100
        plan.configurations[0].responseLimit = .milliseconds(50)
        plan.requests[0].method = .POST
        plan.requests[0].framing = .length
        plan.requests[0].size = 100
        plan.requests[0].expectsContinue = true
      }
      #expect(faults == [], "seed \(seed)")
    }
  }

  /// The last byte of a body ends the stream to the backend. The request must be complete then, or
  /// the client's connection can't be used again.
  @Test func aRequestToAnHTTP2BackendIsCompleteWithItsLastByte() throws {
    var wasKept = false
    for seed: UInt64 in 1...10 {
      var plan = SimulationPlan(seed: seed, role: .proxy, level: .calm)
      plan.conditions = .smooth
      plan.workerCount = 1
      plan.policy = PolicyPlan()
      plan.policy.protocols = [.http2, .http2]
      plan.backends = [BackendPlan(index: 0, seed: seed, isReliable: true)]
      plan.requests = [RequestPlan(id: 0), RequestPlan(id: 1)]
      plan.requests[0].method = .PUT
      plan.requests[0].framing = .length
      plan.requests[0].size = 200_000
      plan.clients = [ClientPlan(ids: [0, 1], seed: seed, isSmall: false)]
      plan.configurations = [ConfigurationPlan(backendCount: 1)]
      plan.events = []
      plan.crowds = []
      let run = SimulationRun(plan)
      var server = try SimulatedWorkers(of: run)
      #expect(run.run(&server) == [], "seed \(seed)")
      if run.ledger.records[0].endpoint === run.ledger.records[1].endpoint { wasKept = true }
    }
    #expect(wasKept)
  }

  @Test func messagesForAWorkerThatHasEndedAreIgnored() {
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

  @Test func aReloadKeepsTheBodyLimitOfACurrentRequest() {
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
