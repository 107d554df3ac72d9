// The last two minutes as JSON: what the page draws before its first event.

import Primitives

struct HistoryReport {
  let history: History

  init(_ history: History) { self.history = history }

  func write(to json: inout JSONWriter) {
    json.array("seconds") { json in
      for moment in history.moments { json.object { moment.write(to: &$0) } }
    }
    json.array("pools") { json in
      for (name, pool) in history.pools.sorted(by: { $0.key < $1.key }) {
        json.object { json in
          json.member("name", name)
          json.array("p50") { json in
            for second in pool.quantilesBySecond { json.number(second.p50.map { $0 / 1000 }) }
          }
          json.array("p99") { json in
            for second in pool.quantilesBySecond { json.number(second.p99.map { $0 / 1000 }) }
          }
        }
      }
    }
  }
}

extension Moment {
  func write(to json: inout JSONWriter) {
    json.member("requests", requests)
    json.member("errors", errors)
    json.member("received", receivedBytes)
    json.member("sent", sentBytes)
    json.member("connections", connections)
    json.member("tcp_connections", tcpConnections)
    json.member("tcp_failures", tcpFailures)
    json.member("dropped_log_lines", droppedLines)
  }
}
