// What must hold when a run is over, whatever happened in it.
//
// Most faults were noted when they showed (Ledger, AnswerCheck, SimulatedBackendConnection,
// SimulatedNetwork). Here is what only the end can tell: every request has its outcome, and in the
// kinder levels the right one; nothing is left over.

import Primitives

extension SimulationRun {
  func judge(gauges: [(name: String, value: Int)]) {
    network.discardUnreadBytes()
    for backend in backends {
      for connection in backend.connections { connection.auditRest() }
    }
    judgeEnd()
    for record in ledger.records { judge(record) }
    for gauge in gauges where gauge.value != 0 {
      network.fault("gauge \(gauge.name) is \(gauge.value) in the end")
    }
  }

  private func judgeEnd() {
    let waiting = clients.count { !$0.isDone }
    if waiting > 0 { network.fault("\(waiting) clients wait for ever") }
    if network.openSocketCount != 0 {
      let names = network.endpoints.filter { $0.isWorkers && $0.phase != .closed }
        .prefix(8).map(network.socketName)
      network.fault("\(network.openSocketCount) sockets are never closed, of \(names)")
    }
  }

  private func judge(_ record: RequestRecord) {
    let id = record.plan.id
    if record.outcome == .begun { ledger.fault(id, "no outcome") }
    if case .answered(let status, nil) = record.outcome, record.plan.malformation != nil {
      if status < 400 || status >= 500 && status != 501 && status != 505 {
        ledger.fault(id, "malformed (\(record.plan.malformation!)), and answered with \(status)")
      }
    }
    if mustBeAnswered(record.plan) && !isFine(record.outcome) && !wasBrokenOff(record) {
      ledger.fault(id, "\(record.plan.method) should have been answered: \(record.outcome)")
    }
  }

  /// Whether nothing in this world excuses the server from getting an answer.
  private func mustBeAnswered(_ plan: RequestPlan) -> Bool {
    switch level {
    case .calm, .refusing: true
    // Larger bodies may not fit the replay buffer; a relay can't ask again.
    case .stale: role == .proxy && plan.isIdempotent && plan.size < 4_000
    case .storm: false
    }
  }

  /// A kept connection that its backend closes may take the beginning of an answer with it; after
  /// that nobody may ask again.
  private func wasBrokenOff(_ record: RequestRecord) -> Bool {
    if level != .stale { return false }
    // What was pipelined behind such an answer goes down with the client's connection.
    if record.outcome == .unanswered, record.plan.id > 0 {
      let previous = ledger.records[record.plan.id - 1]
      if previous.outcome == .truncated || previous.outcome == .unanswered {
        return wasBrokenOff(previous)
      }
    }
    return record.deliveries.contains { delivery in
        guard let start = delivery.answerStart else { return false }
        return network.peer(of: delivery.endpoint).takenTotal > start
      }
  }

  private func isFine(_ outcome: Outcome) -> Bool {
    switch outcome {
    case .answered(_, let backend): backend != nil
    // The client would have had to ask again.
    case .announced: true
    default: false
    }
  }
}
