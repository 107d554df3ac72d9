// Overload: the stage for each share, and when it ends.

import Configuration
import Logging
import Primitives
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

  @Test func workersFreeTheirBuffersOnceAfterAFlood() {
    var watch = OverloadWatch()
    watch.configure(Configuration.Limits(), connectionMax: 1_000_000)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    var now = Instant.origin + .seconds(100)
    let admission = Admission()
    func trims(_ connections: Int) -> Bool {
      while admission.count < connections {
        _ = admission.enter(nil, max: .max, maxPerAddress: nil)
      }
      while admission.count > connections { admission.leave(nil) }
      now = now + .milliseconds(250)
      _ = watch.measure(admission, at: now, logger)
      let trims = watch.takeTrim(workers: 1)
      let trimsAgain = watch.takeTrim(workers: 1)
      #expect(!trimsAgain)
      // The worker does it at once.
      if trims { admission.noteTrim() }
      return trims
    }
    // Neither while the number grows, nor after a few connections closed.
    #expect([0, 400, 0, 5000, 4000, 2600, 2600].map(trims) == Array(repeating: false, count: 7))
    // Nor while many connections are closing.
    #expect([2500, 2000, 100].map(trims) == [false, false, false])
    #expect(trims(90))
    #expect(!trims(90) && !trims(0))
    // The next one does not follow at once, because workers that allocate have to wait.
    #expect([3000, 0, 0].map(trims) == [false, false, false])
    now = now + .seconds(10)
    #expect(trims(0) && !trims(0))
  }

  @Test func theRestOfAFloodIsFreedToo() {
    var watch = OverloadWatch()
    watch.configure(Configuration.Limits(), connectionMax: 1_000_000)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let admission = Admission()
    var now = Instant.origin + .seconds(100)
    func trims(_ connections: Int) -> Bool {
      while admission.count < connections {
        _ = admission.enter(nil, max: .max, maxPerAddress: nil)
      }
      while admission.count > connections { admission.leave(nil) }
      now = now + .seconds(11)
      _ = watch.measure(admission, at: now, logger)
      return watch.takeTrim(workers: 1)
    }
    #expect([1000, 400, 400].map(trims) == [false, false, true])
    // Until the worker has freed its buffers, nothing else follows.
    #expect([380, 100, 100].map(trims) == [false, false, false])
    admission.noteTrim()
    // Then memory is returned, and after that the rest is freed.
    #expect([100, 100].map(trims) == [false, true])
  }

  @Test func theScarcerResourceDecides() {
    #expect(
      stages([(85, 0), (0, 80), (95, 80), (80, 80), (74, 74)]) == [
        .endingConnections, .endingConnections, .sheddingRequests, .endingConnections, .normal,
      ])
  }
}
