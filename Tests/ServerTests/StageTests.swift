// Stage and StagePlan: which stages a route has, for which messages, and in which order.

import Primitives
import Proxy
import Testing

@testable import Server

@Suite struct StageTests {
  private func names(_ stages: StageSet) -> [String] {
    var rest = stages
    var names: [String] = []
    while let stage = rest.popFirst() { names.append(stage.name) }
    return names
  }

  @Test func aForwardingRouteHasWhatItNeeds() {
    let plain = RouteSettings(.forward(pool: 0)).stages
    #expect(names(plain.request) == ["forwarding", "host"])
    #expect(names(plain.final) == ["forwarding", "date"])
    #expect(names(plain.interim) == ["forwarding"])
    #expect(names(plain.local) == ["date"])
  }

  @Test func theOrderIsThatOfTheStages() {
    let route = RouteSettings(
      .forward(pool: 0), requestEdits: [.remove(name: [0x41])],
      responseEdits: [.remove(name: [0x42])],
      fault: Fault(delay: .seconds(1), abort: 503),
      further: [.stickiness, .requestID, .grpcWeb])
    #expect(
      names(route.stages.request) == [
        "delay", "abort", "forwarding", "host", "grpc-web", "stickiness", "request-edits",
      ])
    #expect(
      names(route.stages.final) == [
        "forwarding", "grpc-web", "date", "request-id", "stickiness", "response-edits",
      ])
    #expect(names(route.stages.switching).last == "response-edits")
    #expect(names(route.stages.interim) == ["forwarding", "response-edits"])
    #expect(names(route.stages.local) == ["date", "request-id", "response-edits"])
  }

  @Test func aRouteWithoutBackendsEditsNoRequests() {
    let answer = LocalAnswer(status: 200, body: [])
    let route = RouteSettings(
      .respond(answer, draining: answer), requestEdits: [.remove(name: [0x41])],
      fault: Fault(abort: 503))
    #expect(names(route.stages.request) == ["abort"])
  }

  @Test func eachStageContinuesBehindItself() {
    let all = StageSet(Stage.allCases)
    for stage in Stage.allCases {
      let rest = Stage.allCases.filter { $0.rawValue > stage.rawValue }
      #expect(names(all.after(stage.rawValue)) == rest.map(\.name))
    }
    #expect(Set(Stage.allCases.map(\.name)).count == Stage.allCases.count)
  }
}
