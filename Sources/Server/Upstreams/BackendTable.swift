// The backends that a worker uses, by the ids of their records: the names for the log, the counters
// and the number of connections.
//
// An entry keeps the record, and the record keeps its id: while there is an entry, no other backend
// can have this id. `Worker.forget` decides which entries are removed. If such a backend is used
// again, it gets a new entry.

import Balancing
import Metrics

struct BackendTable {
  /// As the log writes them; empty without an entry.
  private(set) var names: [LogName] = []
  /// This worker's counters.
  private(set) var traffic: [TrafficMetrics?] = []
  private var records: [BackendRecord?] = []
  private var connectionCounts: [Int] = []

  /// Ids for which there is room.
  var slotCount: Int { records.count }

  func contains(_ id: Int) -> Bool { id < records.count && records[id] != nil }

  mutating func insert(_ record: BackendRecord, _ block: TrafficMetrics) {
    while records.count <= record.id {
      names.append(.empty)
      traffic.append(nil)
      records.append(nil)
      connectionCounts.append(0)
    }
    names[record.id] = LogName(record.identity.address)
    traffic[record.id] = block
    records[record.id] = record
  }

  /// A connection to this backend begins. The backend must have an entry.
  mutating func countOpened(_ id: Int) {
    connectionCounts[id] += 1
    traffic[id]?.add(.connectionsOpened)
  }

  mutating func countClosed(_ id: Int) {
    connectionCounts[id] -= 1
    traffic[id]?.add(.connectionsClosed)
  }

  /// The name of the backend's pool; nil without an entry.
  func pool(of id: Int) -> String? { contains(id) ? records[id]?.identity.pool : nil }

  /// Removes the entries without connections, except those in `kept`; returns their ids.
  mutating func removeUnused(except kept: Set<Int>) -> [Int] {
    var removed: [Int] = []
    for id in records.indices
    where records[id] != nil && connectionCounts[id] == 0 && !kept.contains(id) {
      names[id] = .empty
      traffic[id] = nil
      records[id] = nil
      removed.append(id)
    }
    return removed
  }

  /// A connection has agreed on this version.
  func noteSpoken(_ version: BackendVersion, by id: Int) { records[id]?.noteSpoken(version) }
}
