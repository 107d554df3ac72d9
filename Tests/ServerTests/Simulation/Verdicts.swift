// What must be true at the end of every run.
//
// Most faults were recorded when they happened (Ledger, AnswerCheck, SimulatedBackendConnection,
// SimulatedNetwork). This file checks the rest: every request has an outcome that its faults allow,
// and nothing is left over.

import Primitives

extension SimulationRun {
  func judge(gauges: [(name: String, value: Int)]) {
    network.discardUnreadBytes()
    for backend in backends {
      for connection in backend.connections { connection.auditRest() }
    }
    judgeEnd()
    let model = ReferenceModel(self)
    for record in ledger.records {
      switch plan.role {
      case .proxy: model.judge(record)
      case .relay: judgeRelayed(record)
      }
    }
    for flow in ledger.flows.values.sorted(by: { $0.plan.id < $1.plan.id }) { model.judge(flow) }
    for gauge in gauges where gauge.value != 0 {
      network.fault("gauge \(gauge.name) is \(gauge.value) in the end")
    }
  }

  private func judgeEnd() {
    let waiting = clients.count { !$0.isDone } + waitingFlowCount
    if waiting > 0 { network.fault("\(waiting) clients wait for ever") }
    if network.openSocketCount != 0 {
      let names = network.endpoints.filter { $0.isWorkers && $0.phase != .closed }
        .prefix(8).map(network.socketName)
      network.fault("\(network.openSocketCount) sockets are never closed, of \(names)")
    }
  }

  /// A byte relay can't retry, and sends no answers of its own.
  private func judgeRelayed(_ record: RequestRecord) {
    let id = record.plan.id
    if record.outcome == .begun { ledger.fault(id, "no outcome") }
    guard plan.level == .calm || plan.level == .refusing else { return }
    switch record.outcome {
    // The client would have had to repeat it.
    case .answered(_, .some), .announced, .switched(.some, isWhole: true): break
    default:
      ledger.fault(id, "\(record.plan.method) should have been answered: \(record.outcome)")
    }
  }
}
