// The fate of a delivery over HTTP/2, where many share a connection.
//
// An answer begins for the worker when all of its head has arrived. What the backend says about one
// stream, in RST_STREAM and GOAWAY, decides like the end of a connection in HTTP/1.

import Primitives

extension ReferenceModel {
  func fate(
    _ delivery: Delivery, _ http2: HTTP2Delivery, _ record: RequestRecord
  ) -> DeliveryFate {
    let workers = network.peer(of: delivery.endpoint)
    let taken = workers.takenTotal
    func hasTaken(_ position: Int?) -> Bool { position.map { taken >= $0 } ?? false }
    if hasTaken(http2.declinedAt) { return .unprocessed }
    let patience = min(http2.givenUpAt, workers.closedAt) - http2.since
    let limit = configurations(record).map(\.responseLimit.nanoseconds).min() ?? 0
    let isLate = patience.nanoseconds >= limit
    // What comes after RST_STREAM is of no use.
    let isGivenUp = isLate && http2.givenUpAt != .never && !isForwarded(delivery, record)
    if isGivenUp && !delivery.isLost { return .silent }
    guard !delivery.isLost, let plan = delivery.answer else { return isLate ? .silent : .dead }
    if isOverdue(delivery, record) && !isForwarded(delivery, record) { return .silent }
    if let start = delivery.answerStart, taken > start {
      if ledger.isRefused(delivery, record.plan) && !isForwarded(delivery, record) {
        return .refused
      }
      if hasTaken(delivery.answerEnd) && plan.isWhole { return .answered }
      return !plan.isWhole || delivery.hasLeft ? .broken : .unfinished
    }
    if hasTaken(http2.malformedAt) { return .broken }
    if delivery.hasLeft { return isLate ? .silent : .dead }
    switch plan.conduct {
    case .silence, .deafness: return .silent
    default: break
    }
    // The worker's reset may still be on its way to the backend.
    if plan.delay.nanoseconds > limit - History.slack.nanoseconds { return .silent }
    return isLate ? .silent : .unfinished
  }

  /// Whether the worker read the answer so late that it may have given up before. The reset may not
  /// have reached the backend, or behind the end of its stream.
  private func isOverdue(_ delivery: Delivery, _ record: RequestRecord) -> Bool {
    guard let http2 = delivery.http2, let start = delivery.answerStart else { return false }
    let limits = configurations(record).map { min($0.responseLimit, $0.totalLimit) }
    guard let limit = limits.min() else { return false }
    let read = network.peer(of: delivery.endpoint).takingTime(of: start)
    return read != .never && read >= http2.since + limit
  }

  /// How many of these a request may have met.
  func count(
    _ refusals: [Refusal], during record: RequestRecord, _ possible: [ConfigurationPlan]
  ) -> Int {
    let members = Set(possible.flatMap { $0.members(for: record.plan.prefix) ?? [] })
    return refusals.count { refusal in
      let end = refusal.endpoint.map { network.peer(of: $0).closedAt } ?? refusal.since
      return members.contains(refusal.backend) && refusal.since <= record.endedAt
        && end >= record.begunAt
    }
  }

  /// After a byte of an answer, no other backend may be tried, unless the worker had given up
  /// before it came.
  func judgeRetry(after delivery: Delivery, _ record: RequestRecord) {
    guard let http2 = delivery.http2, !delivery.isLost, http2.givenUpAt == .never,
      let start = delivery.answerStart, network.peer(of: delivery.endpoint).takenTotal > start,
      !ledger.isRefused(delivery, record.plan), !isOverdue(delivery, record),
      // Then its time may have been over when the byte was read.
      !history.hasJump(from: record.begunAt, to: record.endedAt)
    else { return }
    ledger.fault(
      record.plan.id, "retried after a byte of the answer of backend \(delivery.backend)")
  }
}

extension Delivery {
  /// Whether the backend has ended the connection, or the stream.
  var hasLeft: Bool {
    endpoint.hasSentReset || endpoint.hasSentFinish || http2?.resetAt != nil
  }
}
