// Checks one final response as a client receives it, to the byte.

import Primitives

struct AnswerCheck {
  let status: Int
  /// The backend that the response names; nil when the server answered itself.
  let backend: Int?
  /// Whether the connection closes after it.
  let closes: Bool

  private let id: Int
  private let ledger: Ledger
  private let pattern: BodyPattern?
  private let size: Int?
  private let plan: AnswerPlan?
  private var offset = 0
  private var isWrong = false

  /// The statuses of the server's own answers (invalid input, limits, timeouts).
  private static let ownStatuses: Set<Int> = [
    400, 404, 408, 413, 414, 417, 421, 429, 431, 501, 502, 503, 504, 505,
    ConfigurationPlan.fixedStatus, ConfigurationPlan.movedStatus,
  ]

  init(_ head: MessageHead, _ id: Int, _ ledger: Ledger, isUntilClose: Bool) {
    self.id = id
    self.ledger = ledger
    status = head.status
    backend = head.number("x-backend")
    let request = ledger.records[id].plan
    closes =
      isUntilClose || head.connectionHas("close") || !request.isPersistent
      || (request.isHTTP10 && !head.connectionHas("keep-alive"))
    size = head.number("x-size")
    guard let backend else {
      pattern = nil
      plan = nil
      // A backend's status may be passed on when no other backend is left to try.
      let isKnown = Self.ownStatuses.contains(status) || ledger.retryStatuses.contains(status)
      // Whether a response that nobody asked for may be taken for the answer is judged later.
      if !isKnown && head.values("x-unasked").isEmpty { ledger.fault(id, "own answer \(status)") }
      return
    }
    let delivery = head.number("x-delivery") ?? -1
    pattern = BodyPattern(id, backend + 1, delivery + 1)
    let deliveries = ledger.records[id].deliveries
    plan = deliveries.indices.contains(delivery) ? deliveries[delivery].answer : nil
    if head.number("x-id") != id { ledger.fault(id, "the answer to \(head.values("x-id"))") }
    if plan == nil || plan?.backend != backend {
      ledger.fault(id, "an answer that backend \(backend) never gave")
    } else if plan?.status != status {
      ledger.fault(id, "status \(status), where the backend said \(plan?.status ?? 0)")
    }
    let hopByHop = ["x-secret", "x-hop"]
    if ledger.role == .proxy, head.fields.contains(where: { hopByHop.contains($0.name) }) {
      ledger.fault(id, "a hop-by-hop field of the backend's connection")
    }
  }

  mutating func check(_ bytes: Span<UInt8>) {
    if let pattern, !isWrong, let position = pattern.mismatch(in: bytes, at: offset) {
      isWrong = true
      ledger.fault(id, "body of the answer is wrong at byte \(position)")
    }
    offset += bytes.count
  }

  func checkEnd(_ trailers: [(name: String, value: String)]) {
    guard let plan else { return }
    if case .http2(.wrongLength(let excess)) = plan.conduct, offset == plan.size + excess {
      // Whole by the length that the backend announced; the rest came too late to tell.
    } else if let size, size != offset {
      ledger.fault(id, "looks complete with \(offset) of \(size) bytes")
    } else if !plan.isWhole {
      ledger.fault(id, "looks complete, but the backend broke off (\(plan.conduct))")
    }
    for trailer in trailers
    where trailer.name != "x-trailer" || trailer.value != "\(id)" || !plan.hasTrailer {
      ledger.fault(id, "trailer \(trailer.name): \(trailer.value)")
    }
  }
}
