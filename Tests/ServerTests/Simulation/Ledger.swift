// What was asked, delivered and answered in one run, as the actors saw it.
//
// The actors write it down; faults that show at once are noted at once, with the request's number.
// What only shows when all is over is judged in Verdicts.swift.

import Primitives

/// How hard the world is in a run, and so what must hold in it.
enum SimulationLevel: CaseIterable {
  /// Everybody behaves, if slowly and in odd pieces: every request is answered by a backend.
  case calm
  /// Some backends refuse or swallow dials: every request is still answered by another.
  case refusing
  /// Backends close idle connections without a word: idempotent requests are still answered.
  case stale
  /// Everything may happen.
  case storm
}

/// What stands between clients and backends.
enum SimulatedRole {
  /// A byte relay, for testing the simulation itself: backends see what clients sent, unchanged.
  case relay
  /// An HTTP proxy that keeps design rules: it retries, and takes hop-by-hop fields away.
  case proxy
}

/// One request as a backend got it, wholly or in part.
struct Delivery {
  let backend: Int
  /// The backend's end of the connection, and where in its stream the request began.
  let endpoint: SimulatedEndpoint
  let start: Int
  /// The bytes were lost on the way, though the worker's send had taken them.
  let isLost: Bool
  /// Where in the stream to the worker the final answer begins and ends.
  var answerStart: Int?
  var answerEnd: Int?
  var answer: AnswerPlan?
}

enum Outcome: Equatable {
  case unsent
  case begun
  /// By a backend, or by the server itself when `backend` is nil.
  case answered(status: Int, backend: Int?)
  /// The connection ended within the answer.
  case truncated
  /// The connection ended before a byte of the answer.
  case unanswered
  /// Like unanswered, but an earlier answer had announced it.
  case announced
  /// The client went away itself.
  case abandoned
}

struct RequestRecord {
  let plan: RequestPlan
  var outcome = Outcome.unsent
  var deliveries: [Delivery] = []
  init(plan: RequestPlan) { self.plan = plan }
}

final class Ledger {
  let network: SimulatedNetwork
  let level: SimulationLevel
  let role: SimulatedRole
  var records: [RequestRecord] = []

  /// A fresh connection for a stale one isn't an attempt of its own, so twice the attempts.
  private static let deliveryMax = 6

  init(network: SimulatedNetwork, level: SimulationLevel, role: SimulatedRole) {
    self.network = network
    self.level = level
    self.role = role
  }

  func fault(_ id: Int, _ text: @autoclosure () -> String) {
    network.fault("request \(id): \(text())")
  }

  func finish(_ id: Int, _ outcome: Outcome) {
    network.note("request \(id): \(outcome)")
    if records[id].outcome != .begun { fault(id, "a second outcome, \(outcome)") }
    records[id].outcome = outcome
  }

  /// A backend found the request `id` in its stream; returns the number of the delivery.
  func deliver(
    _ id: Int, to backend: Int, _ endpoint: SimulatedEndpoint, at start: Int, isLost: Bool
  ) -> Int {
    let record = records[id]
    network.note("request \(id): delivered to backend \(backend)\(isLost ? ", but lost" : "")")
    if record.plan.malformation != nil { fault(id, "malformed, and delivered") }
    if record.outcome == .unsent { fault(id, "delivered before it was sent") }
    if !record.plan.isIdempotent && !record.deliveries.isEmpty {
      fault(id, "\(record.plan.method) delivered twice")
    }
    if record.deliveries.count >= Self.deliveryMax { fault(id, "delivered too often") }
    // Bytes of an attempt that was given up long ago may still arrive: they can't be recalled.
    let isAbandoned = network.peer(of: endpoint).phase == .closed
    if !isLost && !isAbandoned {
      if case .answered = record.outcome { fault(id, "delivered after it was answered") }
      for earlier in record.deliveries where !earlier.isLost {
        let taken = network.peer(of: earlier.endpoint).takenTotal
        if let answerStart = earlier.answerStart, taken > answerStart {
          fault(id, "retried after a byte of the answer of backend \(earlier.backend)")
        }
      }
    }
    records[id].deliveries.append(
      Delivery(backend: backend, endpoint: endpoint, start: start, isLost: isLost))
    return record.deliveries.count
  }
}
