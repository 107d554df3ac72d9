// When an exchange has waited long enough, and what that means.
//
// Each phase waits for one thing. Martlet's timers only ask here: what happens then is an event of
// the machine (Exchange.swift).

public import Balancing
public import Primitives

extension Exchange {
  /// Which side must send or accept the next byte; the caller knows which socket is full.
  public enum Side: Equatable, Sendable { case client, backend }

  /// What it means if nothing has happened by the deadline.
  public enum Expiry: Equatable, Sendable {
    /// The stage has waited long enough: `staged`.
    case stage
    /// Collecting has ended: `collectingEnded`.
    case collected
    /// No slot became free in time: `unavailable`.
    case queue
    /// The attempt has failed: `attemptFailed`.
    case attempt(FailureCause)
    /// The client is too slow: `refused`.
    case client(ExchangeFailure)
    /// No byte was relayed: `responseEnded`, or `refused` for a TCP connection, or `attemptFailed`
    /// if its backend has reset it.
    case relay
  }

  /// When to call `expiry`, unless something happens before.
  public func deadline(_ limits: ExchangeLimits, awaiting side: Side) -> Instant {
    patience(limits, side)?.deadline ?? .never
  }

  /// What to do at `now`; nil when the deadline is later, because of progress in the meantime.
  public func expiry(
    _ limits: ExchangeLimits, awaiting side: Side, at now: Instant
  ) -> Expiry? {
    guard let patience = patience(limits, side), patience.deadline <= now else { return nil }
    return patience.expiry
  }

  /// Whether the time for all attempts together is over.
  public func hasUsedTotal(_ limits: ExchangeLimits, at now: Instant) -> Bool {
    total(limits) <= now
  }

  /// The total timeout starts when the request is complete: a long upload doesn't make a backend
  /// slow. The idle timeouts cover the upload.
  func total(_ limits: ExchangeLimits) -> Instant {
    guard let requestCompletedAt else { return .never }
    return requestCompletedAt + limits.total
  }

  /// One side of a TCP connection sends no more; the other has its time from now on.
  public mutating func halfClosed(at now: Instant) {
    isHalfClosed = true
    progressed(at: now)
  }

  /// The deadline of the next event, and what it means if the event doesn't come.
  private func patience(
    _ limits: ExchangeLimits, _ side: Side
  ) -> (deadline: Instant, expiry: Expiry)? {
    guard let patience = patienceOfPhase(limits, side) else { return nil }
    guard !isRequestComplete, let lateAt = pace.lateAt, lateAt < patience.deadline else {
      return patience
    }
    return (lateAt, .client(.requestTimeout))
  }

  private func patienceOfPhase(
    _ limits: ExchangeLimits, _ side: Side
  ) -> (deadline: Instant, expiry: Expiry)? {
    switch (phase, side) {
    case (.routing, _), (.selecting, _), (.ended, _):
      return nil
    case (.staging(let until, _), _):
      return (until, .stage)
    case (.collecting(let until), _):
      return (until, .collected)
    case (.queued(let since), _):
      return (min(since + limits.queue, total(limits)), .queue)
    case (.connecting(let since), _):
      return (min(since + limits.connect, total(limits)), .attempt(.connectTimeout))
    case (.awaiting(let since), _) where isRequestComplete:
      // The response timeout starts at the end of the request, and restarts for each attempt.
      let start = max(requestCompletedAt ?? since, since)
      return (min(start + limits.response, total(limits)), .attempt(.responseTimeout))
    case (.awaiting, .client):
      return (lastProgress + limits.clientIdle, .client(.requestTimeout))
    case (.awaiting, .backend):
      return (lastProgress + limits.idle, .attempt(.responseTimeout))
    case (.forwarding, .client):
      return (lastProgress + limits.clientIdle, .client(.clientStalled))
    case (.forwarding, .backend):
      return (lastProgress + limits.idle, .attempt(.responseStalled))
    case (.relaying, _):
      return (lastProgress + (isHalfClosed ? limits.idle : limits.relayIdle), .relay)
    }
  }
}
