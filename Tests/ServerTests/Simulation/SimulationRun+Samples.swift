// Checks after every iteration, since the end would not show it: how many bytes of an exchange the
// server holds, and how long a client has waited.

import Primitives

/// How long a request has been waiting for a byte of its response.
struct RequestWait {
  /// When the server had received the whole request.
  var since = Instant.never
  /// Iterations since it was overdue.
  var overdueTurns = 0
}

extension SimulationRun {
  /// Other workers may run first, but rarely many times.
  private static let overdueTurnMax = 100

  func sample() {
    for client in clients {
      client.reportProgress { request in
        sampleHeldBytes(request)
        if plan.role == .proxy { sampleWait(request) }
      }
    }
  }

  private func isMostlyOverhead(_ framing: BodyFraming?) -> Bool {
    plan.role == .proxy && framing == .chunked
  }

  /// The bytes that the server received from one side and hasn't sent to the other.
  private func sampleHeldBytes(_ request: RequestProgress) {
    let delivery = ledger.records[request.id].deliveries.last { !$0.isLost }
    // What comes behind an answer of the server itself is discarded.
    let isOfInterest = request.answerCount == 0 && !request.isBegun
    if isOfInterest && !isMostlyOverhead(ledger.records[request.id].plan.framing) {
      let sent = delivery.map { $0.endpoint.sentTotal - $0.start } ?? 0
      if request.takenCount - sent > request.heldMax {
        ledger.fault(request.id, "\(request.takenCount - sent) bytes of its body are held")
      }
    }
    // In HTTP/2 the bytes between may be of other streams; the windows limit them.
    if let delivery, delivery.http2 == nil, let start = delivery.answerStart,
      !isMostlyOverhead(delivery.answer?.framing)
    {
      let workers = network.peer(of: delivery.endpoint)
      let taken = min(workers.takenTotal, delivery.answerEnd ?? .max) - start
      if taken - request.answerCount > request.heldMax {
        ledger.fault(request.id, "\(taken - request.answerCount) bytes of the answer are held")
      }
    }
  }

  /// The response must begin within the total timeout after the end of the request.
  private func sampleWait(_ request: RequestProgress) {
    let id = request.id
    guard request.isTaken, !request.isBegun else {
      waits[id].since = .never
      return
    }
    if waits[id].since == .never {
      waits[id].since = network.now
      if ledger.records[id].takenAt == nil { ledger.records[id].takenAt = network.now }
    }
    // A backend that reads the body slowly, or not at all, delays the end of the request.
    let isDelayed = ledger.records[id].deliveries.contains { delivery in
      if case .deafness = delivery.answer?.conduct { true } else { delivery.mayStall }
    }
    // A body that exceeds the replay buffer waits for a connected backend.
    let isWaiting =
      ledger.records[id].deliveries.isEmpty && ledger.records[id].plan.size >= 4_000
    // The end of an HTTP/2 connection may wait for its client to read.
    let isUnread = ledger.records[id].plan.http2 != nil && ledger.records[id].clientMayStall
    if isDelayed || isWaiting || isUnread || request.answerCount > 0 { return }
    let begun = ledger.records[id].begunAt
    let limits = ledger.history.configurations(from: begun, to: network.now).map(\.totalLimit)
    // A jump of the clock gives the server no time.
    let since = max(waits[id].since, ledger.history.jumps.last ?? .origin)
    guard let limit = limits.max(), network.now > since + limit + History.slack
    else { return }
    waits[id].overdueTurns += 1
    if waits[id].overdueTurns == Self.overdueTurnMax {
      ledger.fault(id, "not answered within \(limit)")
    }
  }
}
