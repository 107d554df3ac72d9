// One request on its way through the proxy, or one connection of a TCP listener: its state, and
// what to do next.
//
// Pure: events and the time go in, an action comes out. The machine is total: `apply` has a case
// for every event in every phase, and returns nil for one that can't happen there; `handle` traps.
//
//   [staging]                  [queued]
//      ▲▼                         ▲▼
//   routing ─► [collecting] ─► selecting ─► connecting ─► awaiting ─┬► forwarding ─► ended
//      │                          ▲            │            │      └► relaying ───► ended
//      └► ended                   └────────────┴────────────┴── failed: retry, or ended
//
// The body may end in any phase but `relaying` and `ended`; `clientGone` and `refused` end any.
// A TCP connection goes from connecting to relaying, and gets no answer. Retries: RetryPolicy.

public import Balancing
public import Primitives

// Not copyable, since a copy would include all its attempts.
public struct Exchange: ~Copyable, Sendable {
  /// What the caller must do next.
  public enum Action: Equatable, Sendable {
    case wait
    /// Continue with the stages of the request that are behind this one.
    case stage(after: UInt8)
    /// Select a member, and start an attempt there.
    case attempt
    /// Start an attempt on a new connection to the same member.
    case redial
    /// The attempt has its connection: send the request.
    case send
    /// Send the response head to the client, then the body.
    case forward
    /// Send the interim response to the client.
    case forwardInterim
    /// The response is complete: log the exchange, and continue with the connections.
    case finish
    /// Send the client an answer of our own, and end the attempt if there is one.
    case answer(status: UInt16)
    /// Reset the client's connection, so that the client can't take the response for complete.
    case cut
    /// Both sides of a TCP connection have finished: log it, and close both.
    case closeRelay
    /// A TCP connection has failed: log it, and reset both sides.
    case resetRelay
  }

  public enum Event: Equatable, Sendable {
    /// A stage of the request waits, until the caller sends `staged` or this time is over.
    case stageWaits(until: Instant, UInt8)
    /// The stage that waits need not wait any longer.
    case staged
    /// The request has a route to backends. With `collectsUntil`, wait until then for the body of a
    /// small request.
    case routed(collectsUntil: Instant?)
    /// Martlet has answered the request itself, without an attempt. Nil for an answer that is no
    /// error, such as a redirect.
    case answered(ExchangeFailure?)
    case requestEnded
    /// The body to collect is too large, or too slow.
    case collectingEnded
    /// The request is invalid, too large or too slow after its head was accepted, or the time for
    /// it is over.
    case refused(ExchangeFailure)
    case clientGone
    /// All members are full: the caller queues the exchange, and selects again at its turn.
    case queued
    /// No member could be selected.
    case unavailable(Unavailability)
    case attemptStarted(backend: Int, isReused: Bool, isFailOpen: Bool)
    case connected
    /// The caller has ended the attempt. The verdict is that of `verdict(after:…)`.
    case attemptFailed(FailureCause, RetryVerdict)
    /// A head with a 1xx status that is not 101.
    case interim(status: UInt16)
    /// A final head. With `retry` it is discarded for this cause, and another member is tried.
    case head(status: UInt16, retry: FailureCause?)
    /// A 101 was accepted and forwarded.
    case relayStarted
    case responseEnded
    /// The attempt of a TCP connection has its connection to the backend.
    case relayOpened
    /// Both sides of a TCP connection have finished sending.
    case relayEnded
  }

  public enum Phase: Equatable, Sendable {
    /// The caller is looking for a route and runs its stages, which takes no time.
    case routing
    /// A stage waits: for a time, or for an answer from elsewhere.
    case staging(until: Instant, UInt8)
    /// Waiting for the body of a small request, so that a slow client doesn't occupy a backend.
    case collecting(until: Instant)
    /// The caller is selecting a member, which takes no time.
    case selecting
    /// All members are full; the exchange waits in the queue.
    case queued(since: Instant)
    case connecting(since: Instant)
    /// The attempt has its connection; a final response has not begun.
    case awaiting(since: Instant)
    case forwarding
    /// After a 101, or of a TCP connection: bytes are relayed both ways.
    case relaying
    /// Nil when the client got the backend's response.
    case ended(ExchangeFailure?)
  }

  public let startedAt: Instant
  /// Whether the request may be sent twice (RFC 9110 9.2.2).
  public let isIdempotent: Bool
  /// Whether it is a TCP connection and no request: there are only bytes.
  public let isConnection: Bool
  /// Whether one side of a TCP connection has finished sending.
  public internal(set) var isHalfClosed = false
  public private(set) var phase = Phase.routing
  public private(set) var attempts = AttemptList()

  /// Nil while the request is still arriving.
  private(set) var requestCompletedAt: Instant?
  /// Since when the backend could respond: the attempt has begun, the request is complete.
  public var responseAwaitedSince: Instant? {
    guard let requestCompletedAt, let attempt = attempts.last else { return nil }
    return max(requestCompletedAt, attempt.startedAt)
  }
  private(set) var lastProgress: Instant
  /// Whether the client sends its body fast enough.
  private(set) var pace = Pace()
  /// Whether a 100 (Continue) was sent to the client. A second attempt may bring another one.
  private var hasContinued = false

  /// - Parameter isComplete: the request has no body.
  public init(
    startedAt: Instant, isIdempotent: Bool, isComplete: Bool = false, isConnection: Bool = false
  ) {
    self.startedAt = startedAt
    self.isIdempotent = isIdempotent
    self.isConnection = isConnection
    lastProgress = startedAt
    if isComplete { requestCompletedAt = startedAt }
  }

  public var isRequestComplete: Bool { requestCompletedAt != nil }

  /// Whether there was an attempt, so that the next one is a retry.
  public var hasAttempted: Bool { attempts.count > 0 }

  /// Whether the attempt has a connection for the request.
  public var isConnected: Bool {
    switch phase {
    case .awaiting, .forwarding, .relaying: true
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .ended: false
    }
  }

  /// Whether a byte of a final response may have been sent to the client.
  public var hasAnswered: Bool {
    switch phase {
    case .forwarding, .relaying, .ended: true
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .awaiting: false
    }
  }

  /// Why the exchange failed; nil if it succeeded.
  public var failure: ExchangeFailure? {
    if case .ended(let failure) = phase { failure } else { nil }
  }

  // MARK: Events

  /// The next state, and what the caller must do.
  public mutating func handle(_ event: Event, at now: Instant) -> Action {
    guard let action = apply(event, at: now) else {
      preconditionFailure("this event can't happen in this phase")
    }
    return action
  }

  /// The same; nil, without a change, for an event that can't happen in this phase.
  @inline(__always)
  mutating func apply(_ event: Event, at now: Instant) -> Action? {
    switch event {
    case .stageWaits(let until, let stage): return stageWaits(until, stage)
    case .staged: return staged()
    case .routed(let until): return routed(collectsUntil: until)
    case .answered(let failure): return answered(failure)
    case .requestEnded: return requestEnded(at: now)
    case .collectingEnded: return collectingEnded()
    case .refused(let reason): return end(.abandoned, reason, at: now)
    case .clientGone: return end(.clientAborted, .clientAborted, at: now)
    case .queued: return queued(at: now)
    case .unavailable(let reason): return unavailable(reason)
    case .attemptStarted(let backend, let isReused, let isFailOpen):
      return attemptStarted(
        Attempt(backend: backend, isReused: isReused, isFailOpen: isFailOpen, startedAt: now))
    case .connected: return connected(at: now)
    case .attemptFailed(let cause, let verdict): return attemptFailed(cause, verdict, at: now)
    case .interim(let status): return interim(status, at: now)
    case .head(let status, let retry): return head(status, retry, at: now)
    case .relayStarted: return relayStarted(at: now)
    case .responseEnded: return responseEnded(at: now)
    case .relayOpened: return relayOpened(at: now)
    case .relayEnded: return relayEnded(at: now)
    }
  }

  private mutating func stageWaits(_ until: Instant, _ stage: UInt8) -> Action? {
    switch phase {
    case .routing:
      phase = .staging(until: until, stage)
      return .wait
    case .staging, .collecting, .selecting, .queued, .connecting, .awaiting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func staged() -> Action? {
    switch phase {
    case .staging(_, let stage):
      phase = .routing
      return .stage(after: stage)
    case .routing, .collecting, .selecting, .queued, .connecting, .awaiting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func routed(collectsUntil: Instant?) -> Action? {
    switch phase {
    case .routing:
      if let collectsUntil, !isRequestComplete {
        phase = .collecting(until: collectsUntil)
        return .wait
      }
      phase = .selecting
      return .attempt
    case .staging, .collecting, .selecting, .queued, .connecting, .awaiting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func answered(_ failure: ExchangeFailure?) -> Action? {
    switch phase {
    case .routing, .staging:
      phase = .ended(failure)
      return .finish
    case .collecting, .selecting, .queued, .connecting, .awaiting, .forwarding, .relaying, .ended:
      return nil
    }
  }

  private mutating func requestEnded(at now: Instant) -> Action? {
    if isRequestComplete { return nil }
    switch phase {
    case .collecting:
      phase = .selecting
      noteRequestEnd(at: now)
      return .attempt
    case .routing, .staging, .selecting, .queued, .connecting, .awaiting, .forwarding:
      noteRequestEnd(at: now)
      return .wait
    case .relaying, .ended:
      return nil
    }
  }

  private mutating func noteRequestEnd(at now: Instant) {
    requestCompletedAt = now
    lastProgress = now
  }

  private mutating func collectingEnded() -> Action? {
    switch phase {
    case .collecting:
      phase = .selecting
      return .attempt
    case .routing, .staging, .selecting, .queued, .connecting, .awaiting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  /// Ends the exchange from the client's side, or from ours.
  private mutating func end(
    _ result: Attempt.Result, _ reason: ExchangeFailure, at now: Instant
  ) -> Action? {
    switch phase {
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .awaiting, .forwarding,
      .relaying:
      attempts.endLast(result, at: now)
      return reason == .clientAborted ? cut(reason) : giveUp(reason)
    case .ended:
      return nil
    }
  }

  private mutating func queued(at now: Instant) -> Action? {
    switch phase {
    case .selecting:
      phase = .queued(since: now)
      return .wait
    case .routing, .staging, .collecting, .queued, .connecting, .awaiting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func unavailable(_ reason: Unavailability) -> Action? {
    switch phase {
    case .selecting, .queued:
      // After a failed attempt, its cause is more useful than the fact that no member was left.
      if case .failed(let cause) = attempts.last?.result { return giveUp(.upstream(cause)) }
      return giveUp(.unavailable(reason))
    case .routing, .staging, .collecting, .connecting, .awaiting, .forwarding, .relaying, .ended:
      return nil
    }
  }

  private mutating func attemptStarted(_ attempt: Attempt) -> Action? {
    switch phase {
    case .selecting, .queued:
      attempts.append(attempt)
      lastProgress = attempt.startedAt
      if attempt.isReused {
        phase = .awaiting(since: attempt.startedAt)
        return .send
      }
      phase = .connecting(since: attempt.startedAt)
      return .wait
    case .routing, .staging, .collecting, .connecting, .awaiting, .forwarding, .relaying, .ended:
      return nil
    }
  }

  private mutating func connected(at now: Instant) -> Action? {
    switch phase {
    case .connecting:
      attempts.noteConnected(at: now)
      phase = .awaiting(since: now)
      lastProgress = now
      return .send
    case .routing, .staging, .collecting, .selecting, .queued, .awaiting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func attemptFailed(
    _ cause: FailureCause, _ verdict: RetryVerdict, at now: Instant
  ) -> Action? {
    switch phase {
    case .connecting, .awaiting:
      attempts.endLast(.failed(cause), at: now)
      switch verdict {
      case .giveUp:
        return giveUp(.upstream(cause))
      case .retryElsewhere:
        phase = .selecting
        return .attempt
      case .retrySameFresh:
        phase = .selecting
        attempts.forgiveLast()
        return .redial
      }
    case .forwarding, .relaying:
      // The client has a part of the response.
      attempts.endLast(.failed(cause), at: now)
      return giveUp(.upstream(cause))
    case .routing, .staging, .collecting, .selecting, .queued, .ended:
      return nil
    }
  }

  private mutating func interim(_ status: UInt16, at now: Instant) -> Action? {
    switch phase {
    case .awaiting:
      lastProgress = now
      if status == 100 {
        if hasContinued { return .wait }
        hasContinued = true
      }
      return .forwardInterim
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func head(
    _ status: UInt16, _ retry: FailureCause?, at now: Instant
  ) -> Action? {
    switch phase {
    case .awaiting:
      lastProgress = now
      attempts.noteStatus(status, at: now)
      if let retry {
        attempts.endLast(.failed(retry), at: now)
        phase = .selecting
        return .attempt
      }
      phase = .forwarding
      return .forward
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func relayStarted(at now: Instant) -> Action? {
    switch phase {
    case .awaiting:
      attempts.noteStatus(101, at: now)
      phase = .relaying
      lastProgress = now
      return .wait
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .forwarding, .relaying,
      .ended:
      return nil
    }
  }

  private mutating func responseEnded(at now: Instant) -> Action? {
    switch phase {
    case .forwarding, .relaying:
      attempts.endLast(.succeeded, at: now)
      phase = .ended(nil)
      return .finish
    case .routing, .staging, .collecting, .selecting, .queued, .connecting, .awaiting, .ended:
      return nil
    }
  }

  private mutating func relayOpened(at now: Instant) -> Action? {
    guard isConnection, case .connecting = phase else { return nil }
    attempts.noteConnected(at: now)
    phase = .relaying
    lastProgress = now
    return .wait
  }

  private mutating func relayEnded(at now: Instant) -> Action? {
    guard isConnection, case .relaying = phase else { return nil }
    attempts.endLast(.succeeded, at: now)
    phase = .ended(nil)
    return .closeRelay
  }

  private mutating func giveUp(_ reason: ExchangeFailure) -> Action {
    if hasAnswered || isConnection { return cut(reason) }
    phase = .ended(reason)
    return .answer(status: reason.status)
  }

  private mutating func cut(_ reason: ExchangeFailure) -> Action {
    phase = .ended(reason)
    return isConnection ? .resetRelay : .cut
  }

  /// Whether the request may be sent again after `failure`. Call it before `attemptFailed`, so that
  /// the caller can ask the retry budget in between.
  ///
  /// - Parameter hasOther: another member is worth an attempt.
  public func verdict(
    after failure: AttemptFailure, canReplay: Bool, hasOther: Bool = true,
    unprocessedCount: Int = 0, policy: RetryPolicy, limits: ExchangeLimits, at now: Instant
  ) -> RetryVerdict {
    policy.verdict(
      for: failure,
      of: ExchangeProgress(
        isIdempotent: isIdempotent, canReplayBody: canReplay, hasAnswered: hasAnswered,
        attemptCount: attempts.countedCount,
        hadFreshConnection: attempts.lastBackendHadFreshConnection, hasOther: hasOther,
        unprocessedCount: unprocessedCount),
      at: now, deadline: total(limits))
  }

  // MARK: Both directions

  /// The request of the current attempt is sent with this version of HTTP.
  public mutating func noteVersion(_ version: BackendVersion) { attempts.noteVersion(version) }

  /// Part of a body was received, or accepted by the socket of the other side.
  public mutating func progressed(at now: Instant) { lastProgress = max(lastProgress, now) }

  /// How much of the request body has arrived, and whether we are waiting for more from the client.
  /// Call it before you ask for a deadline.
  public mutating func bodyReceived(
    _ byteCount: UInt64, awaitsMore: Bool, _ limits: ExchangeLimits, at now: Instant
  ) {
    guard let rate = limits.clientRate, !isRequestComplete else { return }
    pace.update(byteCount: byteCount, isAwaited: awaitsMore && isConnected, rate: rate, at: now)
  }
}
