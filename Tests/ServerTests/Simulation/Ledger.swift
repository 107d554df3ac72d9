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
  /// When the worker began: with its dial for this request, or its first byte.
  let begunAt: Instant
  /// The bytes were lost on the way, though the worker's send had taken them.
  let isLost: Bool
  /// Whether the backend may take long pauses.
  let mayStall: Bool
  /// When the backend had produced the whole of its answer.
  var answeredAt: Instant?
  /// Where in the stream to the worker the final answer begins and ends.
  var interimStart: Int?
  /// Where interim answers end.
  var interimEnds: Set<Int> = []
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
  /// A 101, and what came behind it from this backend; nil for the part that was missing.
  case switched(backend: Int?, isWhole: Bool)
}

struct RequestRecord {
  let plan: RequestPlan
  var outcome = Outcome.unsent
  var deliveries: [Delivery] = []
  /// The client's end of its connection, and the request before it there.
  var endpoint: SimulatedEndpoint?
  var previous: Int?
  /// When its first byte was to be sent, and when its outcome was known.
  var begunAt = Instant.origin
  var endedAt = Instant.origin
  /// When the server had taken all of it and had not answered yet.
  var takenAt: Instant?
  /// Where in the stream to the worker it ends, once that is known.
  var end: Int?
  var clientMayStall = false
  var isHalfClosed = false
  var continueCount = 0

  init(plan: RequestPlan) { self.plan = plan }
}

final class Ledger {
  let network: SimulatedNetwork
  let level: SimulationLevel
  let role: SimulatedRole
  /// Those that any configuration of the run names.
  var retryStatuses: Set<Int> = []
  var records: [RequestRecord] = []
  var history = History()
  /// Dials that came to nothing, by backend.
  var failedDials: [(time: Instant, backend: Int, trouble: SimulatedBackend.Trouble)] = []
  /// When requests began to be sent of which too little was for anybody to tell whose they were.
  var lostBeginnings: [Instant] = []

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
    records[id].endedAt = network.now
  }

  /// A backend found the request `id` in its stream; returns the number of the delivery.
  func deliver(
    _ id: Int, to backend: Int, _ endpoint: SimulatedEndpoint, at start: Int, isLost: Bool,
    mayStall: Bool
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
        let isRefused = isRefused(earlier, record.plan)
        if let answerStart = earlier.answerStart, taken > answerStart, !isRefused {
          fault(id, "retried after a byte of the answer of backend \(earlier.backend)")
        }
      }
    }
    records[id].deliveries.append(
      Delivery(
        backend: backend, endpoint: endpoint, start: start,
        begunAt: start == 0 ? endpoint.dialledAt : endpoint.sendingTime(of: start),
        isLost: isLost, mayStall: mayStall))
    return record.deliveries.count
  }

  /// Whether a whole head came back whose status is one to be tried elsewhere.
  func isRefused(_ delivery: Delivery, _ plan: RequestPlan) -> Bool {
    guard let status = delivery.answer?.status, let start = delivery.answerStart else {
      return false
    }
    if case .garbage = delivery.answer?.conduct { return false }
    let length = delivery.answer?.head(for: plan).utf8.count ?? 0
    return retryStatuses.contains(status) && plan.isIdempotent
      && network.peer(of: delivery.endpoint).takenTotal >= start + length
  }
}
