// A small language for tables of exchanges: events in, actions out.
//
// The script does only what a worker does around an exchange: it asks the retry policy before it
// reports a failure, and calls `expiry` when a deadline passes.

import Balancing
import Primitives
import Proxy
import Testing

enum Event: Sendable {
  case begin
  /// Begins, and collects the body for this number of milliseconds.
  case collect(Int64)
  case progress
  case requestEnds
  case refuse(ExchangeFailure)
  case clientGone
  case nobody(Unavailability)
  /// All members are full, and the exchange is queued.
  case queue
  case dial(Int)
  case reuse(Int)
  case connected
  case fails(FailureCause, sent: Int)
  case interim(UInt16)
  /// A final head; retried elsewhere if the policy says so.
  case head(UInt16)
  case upgraded
  case responseEnds
  /// Nothing happens until the deadline, while this side is waited for.
  case expires(Exchange.Side)
}

/// One event and the resulting action; nil if the event has none.
struct Step: Sendable {
  let milliseconds: Int64
  let event: Event
  let action: Exchange.Action?

  init(_ milliseconds: Int64, _ event: Event, _ action: Exchange.Action? = nil) {
    self.milliseconds = milliseconds
    self.event = event
    self.action = action
  }
}

struct Script: Sendable, CustomTestStringConvertible {
  let testDescription: String
  var idempotent = true
  var canReplay = true
  let steps: [Step]
  var failure: ExchangeFailure?
  /// The results of the attempts, by name.
  var attempts: [String] = []

  /// All limits differ, so that using the wrong one fails a test.
  static let limits = ExchangeLimits(
    queue: .milliseconds(400), connect: .milliseconds(100), response: .milliseconds(1000),
    total: .milliseconds(2500), clientIdle: .milliseconds(300), idle: .milliseconds(500),
    relayIdle: .milliseconds(5000))

  static let policy = {
    var policy = RetryPolicy()
    policy.statuses = [503]
    return policy
  }()

  static func at(_ milliseconds: Int64) -> Instant { .origin + .milliseconds(milliseconds) }

  func run(sourceLocation: SourceLocation = #_sourceLocation) {
    var exchange = Exchange(startedAt: .origin, isIdempotent: idempotent)
    for (index, step) in steps.enumerated() {
      let action = perform(step.event, on: &exchange, at: Self.at(step.milliseconds))
      #expect(
        action == step.action, "step \(index) of \(testDescription): \(step.event)",
        sourceLocation: sourceLocation)
    }
    let ended = exchange.failure
    #expect(ended == failure, sourceLocation: sourceLocation)
    let results = (0..<exchange.attempts.count).map { "\(exchange.attempts[$0].result.name)" }
    #expect(results == attempts, sourceLocation: sourceLocation)
  }

  private func perform(
    _ event: Event, on exchange: inout Exchange, at now: Instant
  ) -> Exchange.Action? {
    switch event {
    case .begin: return exchange.handle(.routed(collectsUntil: nil), at: now)
    case .collect(let time):
      return exchange.handle(.routed(collectsUntil: now + .milliseconds(time)), at: now)
    case .progress: exchange.progressed(at: now)
    case .requestEnds: return exchange.handle(.requestEnded, at: now)
    case .refuse(let reason): return exchange.handle(.refused(reason), at: now)
    case .clientGone: return exchange.handle(.clientGone, at: now)
    case .nobody(let reason): return exchange.handle(.unavailable(reason), at: now)
    case .queue: return exchange.handle(.queued, at: now)
    case .dial(let backend):
      return exchange.handle(
        .attemptStarted(backend: backend, isReused: false, isFailOpen: false), at: now)
    case .reuse(let backend):
      return exchange.handle(
        .attemptStarted(backend: backend, isReused: true, isFailOpen: false), at: now)
    case .connected: return exchange.handle(.connected, at: now)
    case .fails(let cause, let sent): return fail(cause, sent: sent, &exchange, at: now)
    case .interim(let status): return exchange.handle(.interim(status: status), at: now)
    case .head(let status):
      let failure = AttemptFailure(cause: .status(status), wasReused: false, sentByteCount: 1)
      let retries = verdict(after: failure, exchange, at: now) == .retryElsewhere
      return exchange.handle(
        .head(status: status, retry: retries ? .status(status) : nil), at: now)
    case .upgraded: return exchange.handle(.relayStarted, at: now)
    case .responseEnds: return exchange.handle(.responseEnded, at: now)
    case .expires(let side):
      let limits = Self.limits
      let deadline = exchange.deadline(limits, awaiting: side)
      #expect(deadline == now, "the deadline of \(testDescription)")
      let early = Instant(nanoseconds: now.nanoseconds - 1)
      let before = exchange.expiry(limits, awaiting: side, at: early)
      #expect(before == nil)
      switch exchange.expiry(limits, awaiting: side, at: now) {
      case .stage: return exchange.handle(.staged, at: now)
      case .collected: return exchange.handle(.collectingEnded, at: now)
      case .queue: return exchange.handle(.unavailable(.queueTimeout), at: now)
      case .attempt(let cause): return fail(cause, sent: 1, &exchange, at: now)
      case .client(let reason): return exchange.handle(.refused(reason), at: now)
      case .relay: return exchange.handle(.responseEnded, at: now)
      case nil: break
      }
    }
    return nil
  }

  private func fail(
    _ cause: FailureCause, sent: Int, _ exchange: inout Exchange, at now: Instant
  ) -> Exchange.Action {
    let failure = AttemptFailure(
      cause: cause, wasReused: exchange.attempts.last?.isReused ?? false, sentByteCount: sent)
    return exchange.handle(
      .attemptFailed(cause, verdict(after: failure, exchange, at: now)), at: now)
  }

  private func verdict(
    after failure: AttemptFailure, _ exchange: borrowing Exchange, at now: Instant
  ) -> RetryVerdict {
    exchange.verdict(
      after: failure, canReplay: canReplay, policy: Self.policy, limits: Self.limits, at: now)
  }
}
