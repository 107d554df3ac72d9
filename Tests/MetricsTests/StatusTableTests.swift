// Requests by method and status: each pair has its own count, and the number of pairs is limited.

import Testing

@testable import Metrics

@Suite struct StatusTableTests {
  @Test func eachPairIsCountedForItselfAndSummedOverWorkers() {
    let tables = [StatusTable(), StatusTable()]
    for table in tables {
      for _ in 0..<3 { table.add(method: 0, status: 200) }
      table.add(method: 2, status: 200)
    }
    tables[1].add(method: 0, status: 404)
    let reading = StatusTable.Reading(of: tables)
    #expect(reading.counts.map(\.method) == [0, 0, 2])
    #expect(reading.counts.map(\.status) == [200, 404, 200])
    #expect(reading.counts.map(\.count) == [6, 1, 2])
    #expect(reading.others == 0)
  }

  @Test func whateverBackendsAnswerTheNumberOfPairsIsBounded() {
    let table = StatusTable()
    for status in UInt16(100)..<600 { table.add(method: 0, status: status) }
    let reading = StatusTable.Reading(of: [table])
    #expect(reading.counts.count == StatusTable.pairMax)
    #expect(reading.counts.reduce(0) { $0 + $1.count } + reading.others == 500)
  }

  /// The pairs of a usual site fit, whatever their hashes are.
  @Test func thirtyTwoPairsAllFit() {
    let table = StatusTable()
    for method in UInt8(0)..<8 {
      for status in [200, 304, 404, 503] as [UInt16] { table.add(method: method, status: status) }
    }
    let reading = StatusTable.Reading(of: [table])
    #expect(reading.counts.count == 32 && reading.others == 0)
    #expect(reading.counts.allSatisfy { $0.count == 1 })
  }
}
