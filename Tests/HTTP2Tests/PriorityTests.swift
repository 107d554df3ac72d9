// Priorities (RFC 9218): parsing them, and which stream sends next.

import HTTP
import Primitives
import Testing

@testable import HTTP2

@Suite struct PriorityTests {
  @Test(arguments: [
    ("u=0", 0, false), ("u=7, i", 7, true), ("i", 3, true), ("i=?1", 3, true), ("i=?0", 3, false),
    ("u=5,i=?0", 5, false), (" u=2 ,\ti ", 2, true), ("u=1;x=y, i;q", 1, true),
    ("u=1, u=4", 4, false), ("a=b, u=6", 6, false),
  ])
  func aPriorityIsRead(text: String, urgency: UInt8, isIncremental: Bool) {
    let priority = StreamPriority(Array(text.utf8).span)
    #expect(priority == StreamPriority(urgency: urgency, isIncremental: isIncremental))
  }

  @Test(arguments: ["", "u=8", "u=-1", "u", "U=1", "i=1", "u=1.0", "nonsense", ",,,"])
  func whatIsNoneIsIgnored(text: String) {
    #expect(StreamPriority(Array(text.utf8).span) == nil)
  }

  /// A server with these requests and responses with endless bodies.
  private func bench(_ priorities: [String?]) -> Bench {
    let bench = Bench.server(settings: [(4, 1 << 30)])
    bench.feed(Wire.windowUpdate(0, 1 << 30))
    for (index, priority) in priorities.enumerated() {
      let fields = priority.map { [("priority", $0)] } ?? []
      let stream = UInt32(2 * index + 1)
      bench.feed(Wire.headers(stream, Wire.request(fields), ends: true))
      bench.respond(body: .streamed, on: stream)
      bench.connection.setWantsToSend(true, on: stream)
    }
    bench.clear()
    return bench
  }

  private func turns(_ bench: Bench, _ count: Int) -> [UInt32] {
    (0..<count).compactMap { _ in
      guard let turn = bench.connection.nextTurn() else { return nil }
      let piece = [UInt8](repeating: 0, count: turn.byteCount)
      _ = bench.connection.send(piece.span, ends: false, on: turn.stream, into: &bench.output)
      bench.output.removeAll()
      return turn.stream
    }
  }

  @Test func streamsWithoutAPriorityTakeTurns() {
    #expect(turns(bench([nil, nil, nil]), 6) == [1, 3, 5, 1, 3, 5])
  }

  @Test func theMoreUrgentGoesFirst() {
    let order = turns(bench(["u=5", "u=1", "u=3"]), 10)
    #expect(order == [UInt32](repeating: 3, count: 10))
  }

  @Test func oneThatIsNotIncrementalIsFinishedFirst() {
    let bench = bench(["u=3", "u=3"])
    #expect(turns(bench, 4) == [1, 1, 1, 1])
    bench.connection.sendEnd(on: 1, into: &bench.output)
    #expect(turns(bench, 2) == [3, 3])
  }

  @Test(arguments: [
    ["u=0", "u=7"], ["u=0", "u=0"], ["u=0, i", "u=7, i"], ["u=0", "u=3", "u=5", "u=7, i"],
    ["u=2", "u=2, i", nil],
  ])
  func nothingStarves(priorities: [String?]) {
    let bench = bench(priorities)
    let order = turns(bench, 2000)
    for index in priorities.indices {
      let stream = UInt32(2 * index + 1)
      let places = order.indices.filter { order[$0] == stream }
      let gaps = zip(places, places.dropFirst()).map { $1 - $0 }
      #expect(places.count >= 10, "\(stream): \(places.count)")
      #expect((gaps.max() ?? .max) <= 200, "\(stream): \(gaps.max() ?? 0)")
    }
  }

  @Test func aPriorityUpdateMovesAStream() {
    let bench = bench([nil, nil])
    bench.feed(Wire.frame(Wire.priorityUpdate, 0, 0, [0, 0, 0, 3] + Array("u=0".utf8)))
    #expect(turns(bench, 3) == [3, 3, 3])
  }

  @Test func aPriorityUpdateMayComeBeforeItsStream() {
    let bench = bench([nil])
    bench.feed(Wire.frame(Wire.priorityUpdate, 0, 0, [0, 0, 0, 3] + Array("u=0".utf8)))
    bench.feed(Wire.headers(3, Wire.request(), ends: true))
    bench.respond(body: .streamed, on: 3)
    bench.connection.setWantsToSend(true, on: 3)
    #expect(turns(bench, 3) == [3, 3, 3])
  }

  @Test func aStreamWithoutAWindowLeavesTheQueue() {
    let bench = Bench.server(settings: [(4, 20_000)])
    for stream in [UInt32(1), 3] {
      bench.feed(Wire.headers(stream, Wire.request(), ends: true))
      bench.respond(body: .streamed, on: stream)
      bench.connection.setWantsToSend(true, on: stream)
    }
    #expect(turns(bench, 10) == [1, 3, 1, 3])
    bench.feed(Wire.windowUpdate(3, 10))
    #expect(turns(bench, 10) == [3])
  }
}
