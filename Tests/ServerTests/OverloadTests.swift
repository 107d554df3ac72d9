// Overload: the stage for each share, and when it ends.

import Testing

@testable import Server

@Suite struct OverloadTests {
  /// The stages after each pair of shares, in order.
  private func stages(_ shares: [(memory: Int, connections: Int)]) -> [OverloadStage] {
    var overload = Overload()
    return shares.map { share in
      let before = overload.stage
      let hasChanged = overload.update(memory: share.memory, connections: share.connections)
      #expect(hasChanged == (overload.stage != before))
      return overload.stage
    }
  }

  @Test func stagesBeginAtTheirShareAndEndWellBelowIt() {
    let memory = [84, 85, 80, 75, 74, 84, 94, 95, 90, 89, 76, 75, 74]
    #expect(
      stages(memory.map { ($0, 0) }) == [
        .normal, .endingConnections, .endingConnections, .endingConnections, .normal, .normal,
        .endingConnections, .sheddingRequests, .sheddingRequests, .endingConnections,
        .endingConnections, .endingConnections, .normal,
      ])
  }

  @Test func aJumpSkipsStagesBothWays() {
    #expect(stages([(200, 0), (0, 0)]) == [.sheddingRequests, .normal])
  }

  @Test func connectionsAloneNeverShedRequests() {
    #expect(
      stages([(0, 84), (0, 85), (0, 100), (50, 100), (0, 75), (0, 74)]) == [
        .normal, .endingConnections, .endingConnections, .endingConnections, .endingConnections,
        .normal,
      ])
  }

  @Test func theScarcerResourceDecides() {
    #expect(
      stages([(85, 0), (0, 80), (95, 80), (80, 80), (74, 74)]) == [
        .endingConnections, .endingConnections, .sheddingRequests, .endingConnections, .normal,
      ])
  }
}
