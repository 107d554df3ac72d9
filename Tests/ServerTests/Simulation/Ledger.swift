// The requests, deliveries and responses of one run, as recorded by the actors.
//
// Faults that are visible at once are recorded at once, with the request's number. Verdicts.swift
// checks what is only visible at the end.

import Primitives

/// How difficult the world of a run is, which decides what must be true at the end.
enum SimulationLevel: CaseIterable {
  /// All actors behave, but may be slow or split data: a backend answers every request.
  case calm
  /// Some backends refuse or ignore connects: another backend still answers every request.
  case refusing
  /// Backends close idle connections without notice: idempotent requests are still answered.
  case stale
  /// Everything may happen.
  case storm
}

/// What runs between clients and backends.
enum SimulatedRole {
  /// A byte relay, for testing the simulation itself: backends get what clients sent, unchanged.
  case relay
  /// An HTTP proxy that retries and removes hop-by-hop fields.
  case proxy
}

/// One request as a backend received it, completely or in part.
struct Delivery {
  let backend: Int
  /// The backend's end of the connection, and where in its stream the request began.
  let endpoint: SimulatedEndpoint
  let start: Int
  /// When the worker began: with the connect for this request, or with its first byte.
  let begunAt: Instant
  /// The bytes were lost, although the worker's send had accepted them.
  let isLost: Bool
  /// Whether the backend may take long pauses.
  var mayStall: Bool
  /// When the backend had produced the whole response.
  var answeredAt: Instant?
  /// Where in the stream to the worker the interim responses begin, or the final one without any.
  var interimStart: Int?
  /// Where interim responses end.
  var interimEnds: Set<Int> = []
  /// What the backend had sent unasked before this request arrived.
  var unasked: SimulatedEndpoint.Unasked?
  /// Where the final response begins and ends.
  var answerStart: Int?
  var answerEnd: Int?
  var answer: AnswerPlan?
  /// Only in HTTP/2.
  var http2: HTTP2Delivery?
}

enum Outcome: Equatable {
  case unsent
  case begun
  /// By a backend, or by the server itself when `backend` is nil.
  case answered(status: Int, backend: Int?)
  /// The connection ended within the response.
  case truncated
  /// The connection ended before the first byte of the response.
  case unanswered
  /// Like unanswered, but an earlier response had announced it.
  case announced
  /// The server said that it had not processed the request (RFC 9113 8.7).
  case refused
  /// The client left.
  case abandoned
  /// A 101, and the relayed bytes of this backend; nil if they are incomplete.
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
  /// When the server had received all of it and had not answered yet.
  var takenAt: Instant?
  /// Where in the stream to the worker it ends, when that is known.
  var end: Int?
  var clientMayStall = false
  /// How long its connection had been idle before it.
  var idleTime = TimeSpan.zero
  /// The client did something for which a proxy may end the connection, such as a half-close.
  var mayBeCut = false
  /// The first GOAWAY, without an error, already excluded it.
  var wasExcludedAtOnce = false
  var continueCount = 0

  init(plan: RequestPlan) { self.plan = plan }
}

/// What a backend does to unknown requests on one connection: until it ends, or only at one time.
struct Refusal {
  let backend: Int
  let since: Instant
  let endpoint: SimulatedEndpoint?
  /// Of one stream: the worker's end, and the byte with which it learns of it.
  var notice: (end: SimulatedEndpoint, position: Int)?

  /// A reset may have destroyed the notice.
  var isLost: Bool { notice.map { $0.end.takenTotal <= $0.position } ?? false }
}

final class Ledger {
  let network: SimulatedNetwork
  let level: SimulationLevel
  let role: SimulatedRole
  /// The retry statuses in all configurations of the run.
  var retryStatuses: Set<Int> = []
  var upstreamIdleTime = TimeSpan.zero
  var records: [RequestRecord] = []
  var history = History()
  /// By number.
  var flows: [Int: FlowRecord] = [:]
  /// All connections that backends of TCP listeners have accepted.
  var tcpConnections: [SimulatedTCPConnection] = []
  var failedTCPDials: [(time: Instant, backend: Int, trouble: SimulatedBackend.Trouble)] = []
  /// Failed connects, by backend.
  var failedDials: [(time: Instant, backend: Int, trouble: SimulatedBackend.Trouble)] = []
  /// Streams that backends refused, because there were too many or after GOAWAY. Which requests
  /// they had is not known.
  var refusals: [Refusal] = []
  /// Whether a backend has asked for calm. Then another is tried for what it did not process.
  var asksForCalm = false
  /// Connections on which a request may wait for long before it is read.
  var stalls: [Refusal] = []
  /// Requests of which too few bytes were sent to identify them: when they began, and what the
  /// backend had sent unasked.
  var lostBeginnings: [(time: Instant, unasked: SimulatedEndpoint.Unasked?)] = []

  /// A new connection after a stale one doesn't count as an attempt, so twice the attempts.
  private static let deliveryMax = 6
  /// In HTTP/2 the worker may learn several times that a request was not processed.
  private static let http2DeliveryMax = 12

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

  /// A backend received the request `id`; returns the number of the delivery.
  func deliver(
    _ id: Int, to backend: Int, _ endpoint: SimulatedEndpoint, at start: Int, isLost: Bool,
    mayStall: Bool, http2: HTTP2Delivery? = nil
  ) -> Int {
    let record = records[id]
    network.note("request \(id): delivered to backend \(backend)\(isLost ? ", but lost" : "")")
    if record.plan.isMalformed { fault(id, "malformed, and delivered") }
    if record.outcome == .refused { fault(id, "delivered, though it was refused") }
    if record.outcome == .unsent { fault(id, "delivered before it was sent") }
    let isProcessed = http2?.declinedAt == nil
    if !record.plan.isIdempotent && isProcessed && record.deliveries.contains(where: mayBeProcessed)
    {
      fault(id, "\(record.plan.method) delivered twice")
    }
    let limit = http2 == nil ? Self.deliveryMax : Self.http2DeliveryMax
    if record.deliveries.count >= limit { fault(id, "delivered too often") }
    // Bytes of an abandoned attempt may still arrive, since they can't be recalled.
    let isAbandoned = network.peer(of: endpoint).phase == .closed
    if !isLost && !isAbandoned {
      // In HTTP/2 the end of the attempt may be behind its head.
      if case .answered = record.outcome, http2 == nil {
        fault(id, "delivered after it was answered")
      }
      for earlier in record.deliveries where !earlier.isLost && earlier.http2 == nil {
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
        isLost: isLost, mayStall: mayStall, unasked: network.peer(of: endpoint).unasked,
        http2: http2))
    return record.deliveries.count
  }

  /// The connection on which the request begins has been idle since then: the server should have
  /// closed it.
  func checkIdleTime(of id: Int, since: Instant) {
    // In HTTP/2 the server may have waited for the rest of a request that it had answered.
    let linger = records[id].plan.http2 == nil ? TimeSpan.zero : .seconds(30)
    let limit = ConfigurationPlan.clientIdleLimit + linger + .seconds(5)
    if network.now > since + limit && !history.hasJump(from: since, to: network.now) {
      fault(id, "the connection was idle for \(network.now - since), and still open")
    }
  }

  /// False if the backend has said that it has not processed the request, and the worker knows.
  private func mayBeProcessed(_ delivery: Delivery) -> Bool {
    guard let position = delivery.http2?.declinedAt else { return true }
    return network.peer(of: delivery.endpoint).takenTotal < position
  }

  /// Whether a complete head with a retried status was returned.
  func isRefused(_ delivery: Delivery, _ plan: RequestPlan) -> Bool {
    guard let status = delivery.answer?.status, let start = delivery.answerStart else {
      return false
    }
    if case .garbage = delivery.answer?.conduct { return false }
    if delivery.http2 != nil {
      return retryStatuses.contains(status) && plan.isIdempotent
        && network.peer(of: delivery.endpoint).takenTotal > start
    }
    let length = delivery.answer?.head(for: plan).utf8.count ?? 0
    return retryStatuses.contains(status) && plan.isIdempotent
      && network.peer(of: delivery.endpoint).takenTotal >= start + length
  }
}
