// What a correct proxy may have done with one request, given all that happened to it.
//
// The run has written down every fault that was met: what became of each delivery, dials that came
// to nothing, reloads, flips, drains, jumps of the clock, slow clients. From that, and from the
// rules of retrying alone, the model tells which outcomes are allowed; it knows nothing of how the
// server works. Where no fault explains anything else, the backend's own answer is demanded.

import Primitives

/// The outcomes that are allowed.
struct AllowedOutcomes {
  /// Statuses of answers by the server itself.
  var statuses: Set<Int> = []
  /// The connection may end before, or within, the answer.
  var mayEnd = false
  var mayBeTruncated = false
  /// A backend may answer.
  var mayBeForwarded = true

  mutating func add(_ other: AllowedOutcomes) {
    statuses.formUnion(other.statuses)
    mayEnd = mayEnd || other.mayEnd
    mayBeTruncated = mayBeTruncated || other.mayBeTruncated
  }
}

/// What became of one delivery.
enum DeliveryFate {
  /// Answered, and the server took all of it.
  case answered
  /// The connection ended before a byte of an answer.
  case dead
  /// No answer in time.
  case silent
  /// A part of a head when the time was up: it may have been carried out.
  case stalled
  /// No HTTP, or an end within the head or the body.
  case broken
  /// The server threw a whole answer away for its status.
  case refused
  /// The backend was as it should be, but nobody waited for the rest.
  case unfinished
}

struct ReferenceModel {
  let run: SimulationRun
  private var ledger: Ledger { run.ledger }
  private var history: History { run.ledger.history }
  private var network: SimulatedNetwork { run.network }

  init(_ run: SimulationRun) { self.run = run }

  func judge(_ record: RequestRecord) {
    var record = record
    let id = record.plan.id
    // Those of which only a beginning was sent were found when all was over.
    record.deliveries.sort { $0.begunAt < $1.begunAt }
    judgeDeliveries(record)
    let allowed = allowed(record)
    switch record.outcome {
    case .unsent, .abandoned: break
    case .begun: ledger.fault(id, "no outcome")
    case .answered(let status, nil):
      if !allowed.statuses.contains(status) {
        ledger.fault(
          id, "\(unexplained(record, allowed)): answered with \(status) by the server itself")
      }
      judgeTime(record, status)
    case .answered(_, let backend?), .switched(let backend?, isWhole: true):
      if !allowed.mayBeForwarded { ledger.fault(id, "forwarded to backend \(backend)") }
    case .switched:
      if !allowed.mayBeTruncated { ledger.fault(id, "relayed in part only, for no reason") }
    case .truncated:
      judgePatience(record)
      if !allowed.mayBeTruncated { ledger.fault(id, "\(unexplained(record, allowed)): truncated") }
    case .unanswered:
      if !allowed.mayEnd { ledger.fault(id, "\(unexplained(record, allowed)): unanswered") }
    case .announced:
      break
    }
  }

  private func unexplained(_ record: RequestRecord, _ allowed: AllowedOutcomes) -> String {
    allowed.statuses.isEmpty
      ? "\(record.plan.method) should have been answered"
      : "\(record.plan.method) may be answered with \(allowed.statuses.sorted())"
  }

  // MARK: Where it may go

  /// The configurations that the exchange may have begun under.
  private func configurations(_ record: RequestRecord) -> [ConfigurationPlan] {
    let known = record.deliveries.map(\.begunAt).min() ?? record.endedAt
    return history.configurations(from: record.begunAt, to: known)
  }

  private func judgeDeliveries(_ record: RequestRecord) {
    let id = record.plan.id
    let possible = configurations(record)
    let isConsistent = possible.contains { configuration in
      let members = configuration.members(for: record.plan.prefix) ?? []
      return record.deliveries.allSatisfy { members.contains($0.backend) }
    }
    if !isConsistent && !record.deliveries.isEmpty {
      ledger.fault(
        id, "delivered to \(record.deliveries.map(\.backend)), which no configuration allows")
    }
    for (index, delivery) in record.deliveries.enumerated() {
      // A stale connection is replaced by one to the same backend, under the same pick.
      let isRedial = record.deliveries[..<index].contains { $0.backend == delivery.backend }
      // Whoever took too long, or answered with a status that is retried, would again.
      let isSpent = record.deliveries[..<index].contains {
        $0.backend == delivery.backend && hasSpent($0, record)
      }
      if isSpent { ledger.fault(id, "delivered again to backend \(delivery.backend)") }
      // Of what was lost nobody can tell exactly when it was begun.
      if !isRedial && !delivery.isLost && history.isDown(delivery.backend, at: delivery.begunAt) {
        ledger.fault(id, "delivered to backend \(delivery.backend), which is down")
      }
    }
  }

  /// Whether it is plain that this delivery ended by a time-out, or by a status that is retried.
  private func hasSpent(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    switch fate(delivery, record) {
    case .refused: true
    case .silent, .stalled:
      // It may have gone before its time was over.
      !delivery.isLost && !delivery.endpoint.hasSentReset && !delivery.endpoint.hasSentFinish
    case .answered, .dead, .broken, .unfinished: false
    }
  }

  // MARK: What may come of it

  private func allowed(_ record: RequestRecord) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    let possible = configurations(record)
    let targets = possible.map { $0.target(of: record.plan.prefix) }
    if record.plan.malformation != nil {
      allowed.statuses = [400, 408, 413, 414, 417, 421, 429, 431, 501, 505]
      allowed.mayBeForwarded = false
    } else {
      allowed.mayBeForwarded = targets.contains { if case .pool = $0 { true } else { false } }
      if targets.contains(.fixed) { allowed.statuses.insert(ConfigurationPlan.fixedStatus) }
      if targets.contains(.moved) { allowed.statuses.insert(ConfigurationPlan.movedStatus) }
      if targets.contains(.nothing) { allowed.statuses.insert(404) }
      // A body without an announced length may be answered before it has grown too large.
      if possible.contains(where: { record.plan.size > $0.bodyMax }) {
        allowed.statuses.insert(413)
        allowed.mayBeTruncated = record.plan.framing == .chunked
        allowed.mayEnd = record.plan.framing == .chunked
      }
      if allowed.mayBeForwarded { allowed.add(byBackends(record, possible)) }
    }
    allowed.add(byServer(record, possible))
    allowed.add(byClient(record))
    allowed.add(byConnection(record, allowed))
    return allowed
  }

  /// What the client brings upon itself, or the clock upon everybody.
  private func byClient(_ record: RequestRecord) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    let hasJump = history.hasJump(
      from: record.endpoint?.dialledAt ?? record.begunAt, to: record.endedAt)
    let isLate = record.clientMayStall || hasJump || record.plan.departure != nil
    if isLate { allowed.statuses = [408] }
    if isLate || record.isHalfClosed {
      allowed.mayEnd = true
      allowed.mayBeTruncated = true
    }
    return allowed
  }

  /// What the server may do by order, or because its places for clients are taken.
  private func byServer(
    _ record: RequestRecord, _ possible: [ConfigurationPlan]
  ) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    if let stopped = history.stoppedAt, stopped <= record.endedAt {
      allowed.statuses.insert(503)
      allowed.mayEnd = true
      allowed.mayBeTruncated = true
    }
    if let drained = history.drainedAt, drained <= record.endedAt {
      // Only an exchange that was under way has a right to its end, and for so long.
      let first = record.deliveries.map(\.begunAt).min() ?? .never
      if first > drained { allowed.mayEnd = true }
      if record.endedAt >= drained + History.drainLimit {
        allowed.statuses.insert(503)
        allowed.mayEnd = true
        allowed.mayBeTruncated = true
      }
    }
    allowed.add(byShortage(record))
    guard let endpoint = record.endpoint else { return allowed }
    let wasAccepted = network.peer(of: endpoint).registeredIndex >= 0
    if !wasAccepted {
      let isRefused =
        run.plan.conditions.abortedAccepts > 0 || history.drainedAt != nil
        || history.removedAt != nil
      if isRefused || run.plan.configurations.contains(where: { $0.connectionMax < 10_000 }) {
        allowed.mayEnd = true
      }
    }
    return allowed
  }

  /// What may become of requests under which memory ran short or the listener was taken away. Those
  /// that are under way go on; idle connections are closed, which can cross with a request.
  private func byShortage(_ record: RequestRecord) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    if let removed = history.removedAt, removed <= record.endedAt {
      allowed.statuses.insert(421)
      if record.deliveries.allSatisfy({ $0.begunAt > removed }) { allowed.mayEnd = true }
    }
    let isShort = history.isShort(from: record.begunAt, to: record.endedAt)
    if isShort && record.deliveries.isEmpty { allowed.mayEnd = true }
    if history.isShed(from: record.begunAt, to: record.endedAt) { allowed.statuses.insert(503) }
    return allowed
  }

  /// What comes of others on the same connection, and of an answer that ends it while the client
  /// still sends (RFC 9112 9.6).
  private func byConnection(
    _ record: RequestRecord, _ soFar: AllowedOutcomes
  ) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    if let previous = record.previous {
      switch ledger.records[previous].outcome {
      case .truncated, .unanswered, .announced, .abandoned, .switched: allowed.mayEnd = true
      default: break
      }
    }
    guard let endpoint = record.endpoint else { return allowed }
    // A reset takes along what still waited to be sent of earlier answers.
    if isResetLater(record) {
      allowed.mayEnd = true
      allowed.mayBeTruncated = true
    }
    let workers = network.peer(of: endpoint)
    let isUnread = workers.takenTotal < workers.sentTotal
    let isEarly = record.deliveries.contains {
      if case .answerEarly = $0.answer?.conduct { true } else { false }
    }
    if isUnread && (isEarly || !soFar.statuses.isEmpty) {
      allowed.mayEnd = true
      allowed.mayBeTruncated = true
    }
    return allowed
  }

  /// Whether a later answer on the same connection broke off, of which nothing else shows that it
  /// isn't whole.
  private func isResetLater(_ record: RequestRecord) -> Bool {
    ledger.records.contains { later in
      later.plan.id > record.plan.id && later.endpoint === record.endpoint && later.plan.isHTTP10
        && later.deliveries.contains { fate($0, later) != .answered }
    }
  }

  // MARK: Backends

  private func byBackends(
    _ record: RequestRecord, _ possible: [ConfigurationPlan]
  ) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    let faults = dialFaults(record, possible)
    let fates = record.deliveries.map { fate($0, record) }
    let isUnavailable = possible.contains { mayBeUnavailable($0, record) }
    let hasJump = history.hasJump(from: record.begunAt, to: record.endedAt)
    if isUnavailable { allowed.statuses.insert(503) }
    if lostItsBeginning(record) { allowed.statuses.insert(502) }
    if mustSucceed(record, fates, faults.count, isUnavailable || hasJump) { return allowed }
    if hasJump { allowed.statuses.insert(504) }
    for fault in faults { allowed.statuses.insert(fault == .swallows ? 504 : 502) }
    for (fate, delivery) in zip(fates, record.deliveries) {
      switch fate {
      case .answered: break
      case .dead: allowed.statuses.insert(502)
      case .silent, .stalled:
        allowed.statuses.insert(504)
        // It may have gone at last.
        if delivery.endpoint.hasSentReset || delivery.endpoint.hasSentFinish {
          allowed.statuses.insert(502)
        }
      case .refused: allowed.statuses.formUnion([502, 504, delivery.answer?.status ?? 0])
      case .broken:
        allowed.statuses.insert(502)
        allowed.mayBeTruncated = true
        // The head may have been waiting to be sent on.
        allowed.mayEnd = true
      case .unfinished: break
      }
      if delivery.mayStall && fate != .answered {
        allowed.statuses.insert(504)
        allowed.mayEnd = true
        allowed.mayBeTruncated = true
      }
    }
    return allowed
  }

  /// Whether, whatever was met, another attempt had to bring an answer.
  private func mustSucceed(
    _ record: RequestRecord, _ fates: [DeliveryFate], _ faultCount: Int, _ isExcused: Bool
  ) -> Bool {
    if isExcused || lostItsBeginning(record) { return false }
    let failures = fates.filter { $0 != .answered && $0 != .unfinished }
    if record.deliveries.contains(where: { $0.mayStall }) { return false }
    if failures.count + faultCount >= ConfigurationPlan.attemptMax { return false }
    if failures.isEmpty { return true }
    // What was sent may be sent again only so, and only while it is kept (design: replay).
    guard record.plan.isIdempotent, record.plan.size < 4_000 else { return false }
    // The budget has three places at least; two time-outs use the total time up.
    let charged = failures.count { $0 == .silent || $0 == .refused }
    if charged > 1 || (charged == 1 && chargedTotal > 3) { return false }
    if charged == 1 && !hasOther(record, fates) { return false }
    return !failures.contains(.broken) && !failures.contains(.stalled)
  }

  /// Whether, besides those that took too long or answered with a status that is retried, there was
  /// another member for certain.
  private func hasOther(_ record: RequestRecord, _ fates: [DeliveryFate]) -> Bool {
    let spent = zip(record.deliveries, fates).filter { $1 == .silent || $1 == .refused }
    return configurations(record).allSatisfy { configuration in
      (configuration.members(for: record.plan.prefix) ?? []).contains { backend in
        !spent.contains { $0.0.backend == backend } && !mayBeOut(backend)
          && !history.isDown(backend, from: record.begunAt, to: record.endedAt)
      }
    }
  }

  /// Whether a few bytes of it may have been sent, and lost, which can't be sent again.
  private func lostItsBeginning(_ record: RequestRecord) -> Bool {
    !record.plan.isIdempotent
      && ledger.lostBeginnings.contains { $0 >= record.begunAt && $0 <= record.endedAt }
  }

  /// Retries that the budget may have been asked for, in the whole run.
  private var chargedTotal: Int {
    ledger.records.reduce(0) { sum, record in
      sum
        + record.deliveries.count {
          let fate = fate($0, record)
          return fate == .silent || fate == .refused || $0.mayStall
        }
    }
  }

  func fate(_ delivery: Delivery, _ record: RequestRecord) -> DeliveryFate {
    let workers = network.peer(of: delivery.endpoint)
    let patience = workers.closedAt - delivery.begunAt
    let limit = configurations(record).map(\.responseLimit.nanoseconds).min() ?? 0
    guard !delivery.isLost, let plan = delivery.answer else {
      // One that never read it, or one that was gone.
      return patience.nanoseconds >= limit ? .silent : .dead
    }
    let taken = workers.takenTotal
    if patience.nanoseconds >= limit && hasPartOfHead(delivery, record) { return .stalled }
    let hasBegun = delivery.answerStart.map { taken > $0 } ?? false
    if hasBegun {
      if ledger.isRefused(delivery, record.plan) && !isForwarded(delivery, record) {
        return .refused
      }
      let isEnded = plan.framing != .untilClose || record.outcome != .truncated
      if let end = delivery.answerEnd, taken >= end, plan.isWhole, isEnded { return .answered }
      if !plan.isWhole || delivery.endpoint.hasSentReset { return .broken }
      return .unfinished
    }
    // Of an interim answer a part only: nobody can tell what it was going to be.
    if let start = delivery.interimStart, taken > start, delivery.endpoint.hasSentReset,
      patience.nanoseconds < limit
    {
      return .broken
    }
    switch plan.conduct {
    case .silence, .deafness: return .silent
    default: break
    }
    if plan.delay.nanoseconds > limit - History.slack.nanoseconds { return .silent }
    // The time of the answer runs while a slow way takes the request there, or the answer back.
    let wasSentInTime = delivery.answeredAt.map { $0 + History.slack < workers.closedAt } ?? false
    if !wasSentInTime && patience.nanoseconds >= limit { return .silent }
    if delivery.endpoint.hasSentReset || delivery.endpoint.hasSentFinish { return .dead }
    return .unfinished
  }

  /// Whether the server had taken the beginning of a head, interim or final, and not its end.
  private func hasPartOfHead(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    let taken = network.peer(of: delivery.endpoint).takenTotal
    guard let start = delivery.interimStart, taken > start else { return false }
    if let start = delivery.answerStart, taken >= start {
      let length = delivery.answer?.head(for: record.plan).utf8.count ?? 0
      return taken > start && taken < start + length
    }
    return !delivery.interimEnds.contains(taken)
  }

  /// Whether a status that may be tried elsewhere was passed on all the same.
  private func isForwarded(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    if delivery.endpoint !== record.deliveries.last?.endpoint { return false }
    switch record.outcome {
    case .answered(let status, let backend):
      return backend == delivery.backend && status == delivery.answer?.status
    default:
      return true
    }
  }

  /// Dials during the request's life that came to nothing, at backends that it may have tried.
  private func dialFaults(
    _ record: RequestRecord, _ possible: [ConfigurationPlan]
  ) -> [SimulatedBackend.Trouble] {
    let members = Set(possible.flatMap { $0.members(for: record.plan.prefix) ?? [] })
    let dials = ledger.failedDials.filter { dial in
      dial.time >= record.begunAt && dial.time <= record.endedAt && members.contains(dial.backend)
    }
    let shortages = network.failedDials.filter { $0 >= record.begunAt && $0 <= record.endedAt }
    return dials.map(\.trouble) + shortages.map { _ in .refuses }
  }

  /// Whether all members may have been out of use at some time of the request's life.
  private func mayBeUnavailable(
    _ configuration: ConfigurationPlan, _ record: RequestRecord
  ) -> Bool {
    guard let members = configuration.members(for: record.plan.prefix) else { return false }
    if configuration.maxConnections != nil { return true }
    return members.allSatisfy { backend in
      history.isDown(backend, from: record.begunAt, to: record.endedAt)
        || mayBeOut(backend)
    }
  }

  /// Whether checks, or exchanges that failed, may have taken a backend out at any time.
  private func mayBeOut(_ backend: Int) -> Bool {
    let plan = run.plan
    let hasTroubles = plan.backends.contains { $0.index == backend && !$0.isReliable }
    if plan.policy.checks != .none {
      // Through the smallest sockets, or over a long way, not even a check is quick.
      let isSlow =
        plan.conditions.bodyMax < 200_000 || plan.conditions.latency.upperBound > 5_000
      if hasTroubles || isSlow || plan.level == .storm || !history.jumps.isEmpty { return true }
    }
    return plan.policy.ejects && (hasTroubles || plan.level == .storm || !history.jumps.isEmpty)
  }

  // MARK: Time

  /// A backend that pauses within its answer is given its time.
  private func judgePatience(_ record: RequestRecord) {
    let mayBeTooLarge = configurations(record).contains { record.plan.size > $0.bodyMax }
    guard let last = record.deliveries.last, !mayBeTooLarge,
      fate(last, record) == .unfinished, !record.clientMayStall, !record.isHalfClosed,
      record.plan.departure == nil, !isResetLater(record),
      !history.hasJump(from: record.begunAt, to: record.endedAt),
      history.drainedAt.map({ $0 > record.endedAt }) ?? true, history.stoppedAt == nil
    else { return }
    let workers = network.peer(of: last.endpoint)
    if workers.closedAt < workers.takenAt + ConfigurationPlan.backendIdleLimit {
      let patience = workers.closedAt - workers.takenAt
      ledger.fault(record.plan.id, "given up \(patience) after the last byte of its answer")
    }
  }

  private func judgeTime(_ record: RequestRecord, _ status: Int) {
    let isDeaf = record.deliveries.contains {
      if case .deafness = $0.answer?.conduct { true } else { false }
    }
    // The time of an answer begins when the whole request was passed on.
    if record.clientMayStall || isDeaf || record.deliveries.contains(where: \.mayStall)
      || history.hasJump(from: record.begunAt, to: record.endedAt)
    {
      return
    }
    let possible = configurations(record)
    if let taken = record.takenAt, let limit = possible.map(\.totalLimit).max(),
      record.endedAt > taken + limit + .seconds(5)
    {
      ledger.fault(record.plan.id, "answered \(record.endedAt - taken) after its end")
    }
    // A time-out before its time: somebody was given less than he was promised.
    if status == 504, let last = record.deliveries.last, fate(last, record) == .silent,
      let limit = possible.map({ min($0.responseLimit, $0.totalLimit) }).min(),
      record.endedAt < last.begunAt + limit,
      dialFaults(record, possible).isEmpty, record.deliveries.count == 1
    {
      ledger.fault(record.plan.id, "given up \(record.endedAt - last.begunAt) after it was sent")
    }
  }
}
