// What a correct proxy may do with one request, given everything that happened to it.
//
// The run has recorded every fault: the fate of each delivery, failed connects, reloads, health
// changes, drains, jumps of the clock, slow clients. From that and the retry rules, the model
// computes the allowed outcomes. It doesn't know how the server works. If no fault explains another
// outcome, the backend's own response is required. The file is long because each rule refers to the
// others.

import Primitives

/// The allowed outcomes.
struct AllowedOutcomes {
  /// Statuses of the server's own answers.
  var statuses: Set<Int> = []
  /// The connection may end before or within the response.
  var mayEnd = false
  var mayBeTruncated = false
  /// A backend may respond.
  var mayBeForwarded = true

  mutating func add(_ other: AllowedOutcomes) {
    statuses.formUnion(other.statuses)
    mayEnd = mayEnd || other.mayEnd
    mayBeTruncated = mayBeTruncated || other.mayBeTruncated
  }
}

extension AllowedOutcomes {
  /// These bytes may have been taken for a response.
  static func misled(by unasked: SimulatedEndpoint.Unasked) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    allowed.statuses = Set([502, 504] + (unasked.status.map { [$0] } ?? []))
    allowed.mayEnd = true
    allowed.mayBeTruncated = true
    return allowed
  }
}

/// The fate of one delivery.
enum DeliveryFate {
  /// Answered, and the server received all of it.
  case answered
  /// The connection ended before the first byte of a response.
  case dead
  /// No response in time.
  case silent
  /// Part of a head when the time was up: the request may have been carried out.
  case stalled
  /// Invalid HTTP, or an end within the head or the body.
  case broken
  /// The server discarded a complete response because of its status.
  case refused
  /// The backend said that it has not processed the request (RFC 9113 8.7).
  case unprocessed
  /// Bytes that nobody asked for were on their way when it was sent, and taken for the response.
  case misled
  /// The backend did nothing wrong, but the server didn't wait for the rest.
  case unfinished
}

struct ReferenceModel {
  let run: SimulationRun
  var ledger: Ledger { run.ledger }
  var history: History { run.ledger.history }
  var network: SimulatedNetwork { run.network }

  init(_ run: SimulationRun) { self.run = run }

  func judge(_ record: RequestRecord) {
    var record = record
    let id = record.plan.id
    // Incomplete deliveries were found only at the end.
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
    case .refused: judgeRefusal(record)
    case .announced:
      break
    }
  }

  private func unexplained(_ record: RequestRecord, _ allowed: AllowedOutcomes) -> String {
    let fates = record.deliveries.map { "\(fate($0, record))" }.joined(separator: ", ")
    let expected =
      allowed.statuses.isEmpty
      ? "should have been answered" : "may be answered with \(allowed.statuses.sorted())"
    return "\(record.plan.method) (\(fates)) \(expected)"
  }

  /// The server says that it has not processed the request.
  private func judgeRefusal(_ record: RequestRecord) {
    let id = record.plan.id
    if !record.deliveries.isEmpty { ledger.fault(id, "refused, though it was delivered") }
    // A client that isn't slow answers the PING of a drain in time, so nothing that was on its way
    // is refused.
    let isExcused =
      history.hasEnd(before: record.endedAt, since: History.warningTime)
      || mayHaveBeenIdle(record) || history.stoppedAt != nil || record.clientMayStall
      || record.mayBeCut || tookLong(on: record.endpoint)
    if !isExcused { ledger.fault(id, "refused, for no reason") }
    // A drain warns first, and then takes what was on its way.
    // After a jump of the clock, the server may find that the connection was idle for long.
    if record.wasExcludedAtOnce && !record.clientMayStall && !mayHaveBeenIdle(record)
      && history.stoppedAt == nil && history.jumps.isEmpty
    {
      ledger.fault(id, "excluded without a warning")
    }
  }

  /// Whether a response on the connection took so long that a warning behind it may have come late.
  private func tookLong(on endpoint: SimulatedEndpoint?) -> Bool {
    ledger.records.contains {
      $0.endpoint === endpoint && $0.endedAt >= $0.begunAt + History.warningTime
    }
  }

  /// Whether its connection had been idle for so long that its end may have been on its way.
  private func mayHaveBeenIdle(_ record: RequestRecord) -> Bool {
    record.idleTime + History.slack >= ConfigurationPlan.clientIdleLimit
  }

  // MARK: Where it may be sent

  /// The configurations under which the exchange may have begun.
  func configurations(_ record: RequestRecord) -> [ConfigurationPlan] {
    let known = record.deliveries.map(\.begunAt).min() ?? record.endedAt
    // When a lost delivery began isn't known exactly.
    return history.configurations(from: record.begunAt, to: max(known, record.begunAt))
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
        id,
        "delivered to \(record.deliveries.map(\.backend)), which no configuration allows: "
          + "\(possible.map { $0.members(for: record.plan.prefix) ?? [] })")
    }
    for (index, delivery) in record.deliveries.enumerated() {
      // A stale connection is replaced by one to the same backend, under the same pick.
      let isRedial = record.deliveries[..<index].contains { $0.backend == delivery.backend }
      // A backend that was too slow, or sent a retried status, isn't tried again.
      let isSpent = record.deliveries[..<index].contains {
        $0.backend == delivery.backend && hasSpent($0, record)
      }
      // A jump of the clock ends an attempt that was not slow.
      let hasJump = history.hasJump(from: record.begunAt, to: record.endedAt)
      if isSpent && !hasJump { ledger.fault(id, "delivered again to backend \(delivery.backend)") }
      // The start time of a lost delivery isn't known exactly.
      if !isRedial && !delivery.isLost && wasSelectedWhileDown(delivery, record) {
        ledger.fault(id, "delivered to backend \(delivery.backend), which is down")
      }
      if index < record.deliveries.count - 1 { judgeRetry(after: delivery, record) }
    }
  }

  private func wasSelectedWhileDown(
    _ delivery: Delivery, _ record: RequestRecord
  ) -> Bool {
    // In a panic, health doesn't count.
    if run.plan.policy.failover.panicPercent != nil { return false }
    // It may have waited for a connection that others dialled, or behind other streams.
    if run.plan.policy.hasSharedConnections {
      return history.isDown(delivery.backend, throughout: record.begunAt, to: delivery.begunAt)
    }
    return history.isDown(delivery.backend, at: delivery.begunAt)
  }

  /// Whether this delivery certainly ended by a timeout, or by a retried status.
  private func hasSpent(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    switch fate(delivery, record) {
    case .refused: true
    case .silent, .stalled:
      // The backend may have left before the timeout.
      !delivery.isLost && !delivery.hasLeft
    case .answered, .dead, .broken, .unfinished, .misled, .unprocessed: false
    }
  }

  // MARK: Allowed outcomes

  private func allowed(_ record: RequestRecord) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    let possible = configurations(record)
    let targets = possible.map { $0.target(of: record.plan.prefix) }
    if record.plan.isMalformed {
      allowed.statuses = [400, 408, 413, 414, 417, 421, 429, 431, 501, 505]
      allowed.mayBeForwarded = false
      // RST_STREAM.
      allowed.mayEnd = record.plan.http2 != nil
    } else {
      allowed.mayBeForwarded = targets.contains { if case .pool = $0 { true } else { false } }
      if targets.contains(.fixed) { allowed.statuses.insert(ConfigurationPlan.fixedStatus) }
      if targets.contains(.moved) { allowed.statuses.insert(ConfigurationPlan.movedStatus) }
      if targets.contains(.nothing) { allowed.statuses.insert(404) }
      // A body without an announced length may be answered before it has become too large.
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

  /// Outcomes caused by the client, or by the clock.
  private func byClient(_ record: RequestRecord) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    let hasJump = history.hasJump(
      from: record.endpoint?.dialledAt ?? record.begunAt, to: record.endedAt)
    let isLate = record.clientMayStall || hasJump || record.plan.departure != nil
    if isLate { allowed.statuses = [408] }
    if mayHaveBeenIdle(record) { allowed.mayEnd = true }
    if isLate || record.mayBeCut {
      allowed.mayEnd = true
      allowed.mayBeTruncated = true
    }
    return allowed
  }

  /// Outcomes caused by commands, or by the limit of clients.
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
      // Only an exchange that had begun may finish, and only for a limited time.
      let first = record.deliveries.map(\.begunAt).min() ?? .never
      // HTTP/2 refuses what it doesn't process.
      if first > drained && record.plan.http2 == nil { allowed.mayEnd = true }
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

  /// Allowed outcomes when memory is short or the listener was removed. Current exchanges continue;
  /// idle connections are closed, possibly while a request is on its way.
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

  /// Outcomes caused by other requests on the same connection, and by a response that closes it
  /// while the client still sends (RFC 9112 9.6).
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
    guard let endpoint = record.endpoint, record.plan.http2 == nil else { return allowed }
    // A reset also discards unsent parts of earlier responses.
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

  /// Whether a later response on the same connection was truncated in a way that only a reset can
  /// show.
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
    allowed.add(byLostBeginning(record))
    let refusalCount = count(ledger.refusals, during: record, possible)
    let lostCount = count(ledger.refusals.filter(\.isLost), during: record, possible)
    let isLost = lostCount > 0 && !mayBeRepeated(record)
    if record.deliveries.isEmpty, count(ledger.stalls, during: record, possible) > 0 {
      allowed.statuses.formUnion([502, 504])
      return allowed
    }
    // A slow link may not carry a large head in time, which is no delivery then.
    if record.deliveries.isEmpty, (record.plan.http2?.paddingCount ?? 0) > 4_000 {
      allowed.statuses.insert(504)
    }
    // Simulated backends with HTTP/2 offer no extended CONNECT.
    if record.plan.relaySize != nil && run.plan.policy.hasSharedConnections {
      allowed.statuses.insert(502)
    }
    if mustSucceed(record, fates, faults.count, refusalCount, isUnavailable || hasJump || isLost) {
      return allowed
    }
    if refusalCount > 0 { allowed.statuses.insert(502) }
    // The last attempt may have waited behind what a backend did not take.
    if count(ledger.stalls, during: record, possible) > 0 { allowed.statuses.insert(504) }
    if hasJump { allowed.statuses.insert(504) }
    // It finds a PING that was not answered.
    if hasJump && run.plan.policy.hasSharedConnections { allowed.statuses.insert(502) }
    for fault in faults { allowed.statuses.insert(fault == .swallows ? 504 : 502) }
    for (fate, delivery) in zip(fates, record.deliveries) {
      switch fate {
      case .answered: break
      case .dead, .unprocessed: allowed.statuses.insert(502)
      case .silent, .stalled:
        allowed.statuses.insert(504)
        // It may have left in the end.
        if delivery.hasLeft { allowed.statuses.insert(502) }
      case .refused: allowed.statuses.formUnion([502, 504, delivery.answer?.status ?? 0])
      case .broken:
        allowed.statuses.insert(502)
        allowed.mayBeTruncated = true
        // The head may still have been waiting to be sent on.
        allowed.mayEnd = true
      case .misled:
        if let unasked = delivery.unasked { allowed.add(.misled(by: unasked)) }
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

  /// Whether, with all faults, another attempt must have succeeded.
  private func mustSucceed(
    _ record: RequestRecord, _ fates: [DeliveryFate], _ faultCount: Int, _ refusalCount: Int,
    _ isExcused: Bool
  ) -> Bool {
    if isExcused || lostItsBeginning(record) { return false }
    // A request that wasn't processed is sent again, as long as its body is kept.
    let unprocessedCount = fates.count { $0 == .unprocessed }
    let isUnprocessed = unprocessedCount + refusalCount > 0
    if unprocessedCount > 5 || (isUnprocessed && record.plan.size >= 4_000) { return false }
    let failures = fates.filter {
      $0 != .answered && $0 != .unfinished && $0 != .unprocessed
    }
    if record.deliveries.contains(where: { $0.mayStall }) { return false }
    let triedElsewhere = ledger.asksForCalm ? unprocessedCount : 0
    let failureCount = failures.count + faultCount + (isUnprocessed ? max(1, triedElsewhere) : 0)
    if failureCount >= ConfigurationPlan.attemptMax { return false }
    if failures.isEmpty { return true }
    guard mayBeRepeated(record) else { return false }
    // The budget allows at least three retries; two timeouts use up the total timeout.
    let charged = failures.count { $0 == .silent || $0 == .refused }
    if charged > 1 || (charged == 1 && chargedTotal > 3) { return false }
    if charged == 1 && !hasOther(record, fates) { return false }
    return failures.allSatisfy { $0 != .broken && $0 != .stalled && $0 != .misled }
  }

  /// Whether there certainly was another member, besides those that were too slow or sent a retried
  /// status.
  private func hasOther(_ record: RequestRecord, _ fates: [DeliveryFate]) -> Bool {
    let spent = zip(record.deliveries, fates).filter { $1 == .silent || $1 == .refused }
    return configurations(record).allSatisfy { configuration in
      (configuration.members(for: record.plan.prefix) ?? []).contains { backend in
        !spent.contains { $0.0.backend == backend } && !mayBeOut(backend)
          && !history.isDown(backend, from: record.begunAt, to: record.endedAt)
      }
    }
  }

  /// Whether a request that was sent may be sent again: its body must fit in the smallest replay
  /// buffer too.
  private func mayBeRepeated(_ record: RequestRecord) -> Bool {
    record.plan.isIdempotent && record.plan.size < 4_000
  }

  /// Whether its first bytes may have been sent and lost, and it can't be repeated, or bytes that
  /// nobody asked for were taken for its response.
  private func lostItsBeginning(_ record: RequestRecord) -> Bool {
    ledger.lostBeginnings.contains {
      $0.time >= record.begunAt && $0.time <= record.endedAt
        && (!mayBeRepeated(record) || $0.unasked != nil)
    }
  }

  private func byLostBeginning(_ record: RequestRecord) -> AllowedOutcomes {
    var allowed = AllowedOutcomes()
    if !lostItsBeginning(record) { return allowed }
    allowed.statuses = [502]
    for beginning in ledger.lostBeginnings {
      if let unasked = beginning.unasked { allowed.add(.misled(by: unasked)) }
    }
    return allowed
  }

  /// The maximum number of retries in the whole run that the budget may have counted.
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
    if let http2 = delivery.http2 { return fate(delivery, http2, record) }
    let workers = network.peer(of: delivery.endpoint)
    if let unasked = delivery.unasked, workers.takenTotal > unasked.start { return .misled }
    let patience = workers.closedAt - delivery.begunAt
    let limit = configurations(record).map(\.responseLimit.nanoseconds).min() ?? 0
    guard !delivery.isLost, let plan = delivery.answer else {
      // It never read the request, or it was gone.
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
    // Only a part of an interim response: the rest is unknown.
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
    // The response timeout runs while a slow network transports the request or the response.
    let wasSentInTime = delivery.answeredAt.map { $0 + History.slack < workers.closedAt } ?? false
    if !wasSentInTime && patience.nanoseconds >= limit { return .silent }
    if delivery.endpoint.hasSentReset || delivery.endpoint.hasSentFinish { return .dead }
    return .unfinished
  }

  /// Whether the server had received the beginning of a head, interim or final, and not its end.
  private func hasPartOfHead(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    let taken = network.peer(of: delivery.endpoint).takenTotal
    guard let start = delivery.interimStart, taken > start else { return false }
    if let start = delivery.answerStart, taken >= start {
      let length = delivery.answer?.head(for: record.plan).utf8.count ?? 0
      return taken > start && taken < start + length
    }
    return !delivery.interimEnds.contains(taken)
  }

  /// Whether a status that may be retried was passed on.
  func isForwarded(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    if delivery.endpoint !== record.deliveries.last?.endpoint { return false }
    if delivery.http2 !== record.deliveries.last?.http2 { return false }
    switch record.outcome {
    case .answered(let status, let backend):
      return backend == delivery.backend && status == delivery.answer?.status
    default:
      return true
    }
  }

  /// Failed connects during the request's life, at backends that it may have tried.
  private func dialFaults(
    _ record: RequestRecord, _ possible: [ConfigurationPlan]
  ) -> [SimulatedBackend.Trouble] {
    let members = Set(possible.flatMap { $0.members(for: record.plan.prefix) ?? [] })
    // In HTTP/2 it may wait for a connection that another request dials, and that has waited for
    // as long.
    let limit = ConfigurationPlan.connectLimit
    let wait = run.plan.policy.hasSharedConnections ? limit + limit : TimeSpan.zero
    func isMeant(_ time: Instant) -> Bool {
      time + wait >= record.begunAt && time <= record.endedAt
    }
    let dials = ledger.failedDials.filter { isMeant($0.time) && members.contains($0.backend) }
    let shortages = network.failedDials.filter(isMeant)
    return dials.map(\.trouble) + shortages.map { _ in .refuses }
  }

  /// Whether all members may have been unavailable at some time of the request's life.
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

  /// Whether checks or failed exchanges may have taken a backend out at any time.
  private func mayBeOut(_ backend: Int) -> Bool {
    let plan = run.plan
    let hasTroubles = plan.backends.contains { $0.index == backend && !$0.isReliable }
    if plan.policy.checks != .none {
      // With the smallest sockets, or a high latency, checks are slow too.
      let isSlow =
        plan.conditions.bodyMax < 200_000 || plan.conditions.latency.upperBound > 5_000
      if hasTroubles || isSlow || plan.level == .storm || !history.jumps.isEmpty { return true }
    }
    return plan.policy.ejects
      && (hasTroubles || plan.level == .storm || !history.jumps.isEmpty || hasRefused(backend))
  }

  /// Whether a backend that works was to answer with a status that counts as a failure.
  private func hasRefused(_ backend: Int) -> Bool {
    ledger.records.contains { record in
      record.deliveries.contains {
        $0.backend == backend && ledger.retryStatuses.contains($0.answer?.status ?? 0)
      }
    }
  }

  // MARK: Time

  /// A backend that pauses within its response gets its full timeout.
  private func judgePatience(_ record: RequestRecord) {
    let mayBeTooLarge = configurations(record).contains { record.plan.size > $0.bodyMax }
    guard let last = record.deliveries.last, last.http2 == nil, !mayBeTooLarge,
      fate(last, record) == .unfinished, !record.clientMayStall, !record.mayBeCut,
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
    // The response timeout starts when the whole request was sent. Of a body that exceeds the
    // replay buffer, the server takes the rest only when a backend is connected.
    if record.deliveries.isEmpty && record.plan.size >= 4_000 { return }
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
    // A timeout before its time: the server waited for less than the configured time.
    if status == 504, let last = record.deliveries.last, fate(last, record) == .silent,
      let limit = possible.map({ min($0.responseLimit, $0.totalLimit) }).min(),
      record.endedAt < (last.http2?.since ?? last.begunAt) + limit,
      dialFaults(record, possible).isEmpty, record.deliveries.count == 1
    {
      ledger.fault(record.plan.id, "given up \(record.endedAt - last.begunAt) after it was sent")
    }
  }
}
