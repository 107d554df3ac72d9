// Checks after every iteration, since the end would not show it: how many bytes of an exchange the
// server holds, and how long a client has waited.

import Primitives

/// How long the first of a client's requests has been waiting for a byte of its response.
struct RequestWait {
  var id = -1
  /// When the server had received the whole request.
  var since = Instant.never
  /// Iterations since it was overdue.
  var overdueTurns = 0
}

extension SimulationRun {
  /// Other workers may run first, but rarely many times.
  private static let overdueTurnMax = 100

  func sample() {
    for (index, client) in clients.enumerated() {
      guard let request = client.outstanding.first, let endpoint = client.endpoint,
        endpoint.isConnected
      else { continue }
      let forwarded = endpoint.sentTotal - client.answerStart
      sampleHeldBytes(request, endpoint, forwarded)
      if plan.role == .proxy { sampleWait(index, request, endpoint, forwarded) }
    }
  }

  private func isMostlyOverhead(_ framing: BodyFraming?) -> Bool {
    plan.role == .proxy && framing == .chunked
  }

  /// The bytes that the server received from one side and hasn't sent to the other.
  private func sampleHeldBytes(
    _ request: SimulatedClient.Outstanding, _ endpoint: SimulatedEndpoint, _ forwarded: Int
  ) {
    let delivery = ledger.records[request.id].deliveries.last { !$0.isLost }
    if forwarded == 0 && !isMostlyOverhead(ledger.records[request.id].plan.framing) {
      let workers = network.peer(of: endpoint)
      let taken = min(workers.takenTotal, request.end ?? .max) - request.start
      let sent = delivery.map { $0.endpoint.sentTotal - $0.start } ?? 0
      if taken - sent > Self.heldMax {
        ledger.fault(request.id, "\(taken - sent) bytes of its body are held")
      }
    }
    if let delivery, let start = delivery.answerStart, !isMostlyOverhead(delivery.answer?.framing)
    {
      let workers = network.peer(of: delivery.endpoint)
      let taken = min(workers.takenTotal, delivery.answerEnd ?? .max) - start
      if taken - forwarded > Self.heldMax {
        ledger.fault(request.id, "\(taken - forwarded) bytes of the answer are held")
      }
    }
  }

  /// The response must begin within the total timeout after the end of the request.
  private func sampleWait(
    _ index: Int, _ request: SimulatedClient.Outstanding, _ endpoint: SimulatedEndpoint,
    _ forwarded: Int
  ) {
    if waits[index].id != request.id { waits[index] = RequestWait(id: request.id) }
    guard let end = request.end, forwarded == 0,
      network.peer(of: endpoint).takenTotal >= end
    else {
      waits[index].since = .never
      return
    }
    if waits[index].since == .never {
      waits[index].since = network.now
      if ledger.records[request.id].takenAt == nil {
        ledger.records[request.id].takenAt = network.now
      }
    }
    // A backend that reads the body slowly, or not at all, delays the end of the request.
    let isDelayed = ledger.records[request.id].deliveries.contains { delivery in
      if case .deafness = delivery.answer?.conduct { true } else { delivery.mayStall }
    }
    // A body that exceeds the replay buffer waits for a connected backend.
    let isWaiting =
      ledger.records[request.id].deliveries.isEmpty
      && ledger.records[request.id].plan.size >= 4_000
    if isDelayed || isWaiting { return }
    let begun = ledger.records[request.id].begunAt
    let limits = ledger.history.configurations(from: begun, to: network.now).map(\.totalLimit)
    guard let limit = limits.max(), network.now > waits[index].since + limit + History.slack
    else { return }
    waits[index].overdueTurns += 1
    if waits[index].overdueTurns == Self.overdueTurnMax {
      ledger.fault(request.id, "not answered within \(limit)")
    }
  }
}
