// One request on its way through the proxy: its state, and what to do next.
//
// Pure: events and the time are inputs, an action is the output, and the caller performs it. It
// moves no bytes and knows no HTTP version, so retries, early answers, slow peers and lost clients
// can be table tests. The request may end in any phase, since both directions are independent:
//
//                   [queued]
//                      ▲▼
//   [collecting] ─► selecting ─► connecting ─► awaiting ─┬► forwarding ─► ended
//                       ▲            │            │      └► relaying ───► ended
//                       └────────────┴────────────┴── failed: retry, or ended
//
// RetryPolicy in Balancing decides about retries. After `forwarding` has begun there are none.

public import Balancing
public import Primitives

// Not copyable, since a copy would include all its attempts.
public struct Exchange: ~Copyable, Sendable {
  /// What the caller must do next.
  public enum Action: Equatable, Sendable {
    case wait
    /// Select a member, and start an attempt there.
    case attempt
    /// Start an attempt on a new connection to the same member.
    case redial
    /// Send the response head to the client, then the body.
    case forward
    /// Send the interim response to the client.
    case forwardInterim
    /// The response has ended on both sides: log it, and continue with the connections.
    case finish
    /// Send the client an answer of our own, and end the attempt if there is one.
    case answer(status: UInt16)
    /// Reset the client's connection, so that the client can't take the response for complete.
    case cut
  }

  public enum Phase: Equatable, Sendable {
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
    /// After a 101: bytes are relayed both ways, and there is no response any more.
    case relaying
    /// Nil when the client got the backend's response.
    case ended(ExchangeFailure?)
  }

  public let startedAt: Instant
  /// Whether the request may be sent twice (RFC 9110 9.2.2).
  public let isIdempotent: Bool
  public private(set) var phase = Phase.selecting
  public private(set) var attempts = AttemptList()

  /// Nil while the request is still arriving.
  private var requestCompletedAt: Instant?
  private var lastProgress: Instant
  /// Whether the client sends its body fast enough.
  private var pace = Pace()
  /// Whether a 100 (Continue) was sent to the client. A second attempt may bring another one.
  private var hasContinued = false

  public init(startedAt: Instant, isIdempotent: Bool) {
    self.startedAt = startedAt
    self.isIdempotent = isIdempotent
    lastProgress = startedAt
  }

  public var isRequestComplete: Bool { requestCompletedAt != nil }

  /// Whether there was an attempt, so that the next one is a retry.
  public var hasAttempted: Bool { attempts.count > 0 }

  /// Whether the attempt has a connection for the request.
  public var isConnected: Bool {
    switch phase {
    case .awaiting, .forwarding, .relaying: true
    case .collecting, .selecting, .queued, .connecting, .ended: false
    }
  }

  /// Whether a byte of a final response may have been sent to the client.
  public var hasAnswered: Bool {
    switch phase {
    case .forwarding, .relaying, .ended: true
    case .collecting, .selecting, .queued, .connecting, .awaiting: false
    }
  }

  /// Why the exchange failed; nil if it succeeded.
  public var failure: ExchangeFailure? {
    if case .ended(let failure) = phase { failure } else { nil }
  }

  // MARK: The request

  /// The head has arrived. If `collectsUntil` is set, wait until then for the body of a small
  /// request.
  public mutating func begin(collectsUntil: Instant?) -> Action {
    guard let collectsUntil, !isRequestComplete else { return .attempt }
    phase = .collecting(until: collectsUntil)
    return .wait
  }

  /// Martlet answers the request itself, before any attempt. `failure` is nil for an answer that is
  /// no error, such as a redirect.
  public mutating func answered(_ failure: ExchangeFailure?) { phase = .ended(failure) }

  public mutating func requestEnded(at now: Instant) -> Action {
    requestCompletedAt = now
    lastProgress = now
    return collectingEnded()
  }

  /// The body to collect is too large, complete, or too slow.
  public mutating func collectingEnded() -> Action {
    guard case .collecting = phase else { return .wait }
    phase = .selecting
    return .attempt
  }

  /// The request was found to be invalid, too large or too slow after its head was accepted, or the
  /// time for it is over.
  public mutating func refuse(_ reason: ExchangeFailure, at now: Instant) -> Action {
    attempts.endLast(.abandoned, at: now)
    return giveUp(reason)
  }

  public mutating func clientGone(at now: Instant) -> Action {
    attempts.endLast(.clientAborted, at: now)
    phase = .ended(.clientAborted)
    return .cut
  }

  // MARK: Attempts

  public mutating func attemptStarted(
    backend: Int, isReused: Bool, isFailOpen: Bool = false, at now: Instant
  ) {
    attempts.append(
      Attempt(backend: backend, isReused: isReused, isFailOpen: isFailOpen, startedAt: now))
    phase = isReused ? .awaiting(since: now) : .connecting(since: now)
    lastProgress = now
  }

  public mutating func connected(at now: Instant) {
    attempts.noteConnected(at: now)
    phase = .awaiting(since: now)
    lastProgress = now
  }

  /// All members are full. The caller queues the exchange and selects again when its turn comes.
  public mutating func queued(at now: Instant) -> Action {
    phase = .queued(since: now)
    return .wait
  }

  /// No member could be selected.
  public mutating func nothingAvailable(_ reason: Unavailability) -> Action {
    // After a failed attempt, its cause is more useful than the fact that no member was left.
    if case .failed(let cause) = attempts.last?.result { return giveUp(.upstream(cause)) }
    return giveUp(.unavailable(reason))
  }

  /// Whether the request may be sent again after `failure`. Call it before `attemptFailed`, so that
  /// the caller can ask the retry budget in between.
  ///
  /// - Parameter hasOther: another member is worth an attempt.
  public func verdict(
    after failure: AttemptFailure, canReplay: Bool, hasOther: Bool = true, policy: RetryPolicy,
    limits: ExchangeLimits, at now: Instant
  ) -> RetryVerdict {
    policy.verdict(
      for: failure,
      of: ExchangeProgress(
        isIdempotent: isIdempotent, canReplayBody: canReplay, hasAnswered: hasAnswered,
        attemptCount: attempts.countedCount,
        hadFreshConnection: attempts.lastBackendHadFreshConnection, hasOther: hasOther),
      at: now, deadline: total(limits))
  }

  /// The attempt failed. The caller has closed the connection.
  public mutating func attemptFailed(
    _ cause: FailureCause, verdict: RetryVerdict, at now: Instant
  ) -> Action {
    attempts.endLast(.failed(cause), at: now)
    if hasAnswered || verdict == .giveUp { return giveUp(.upstream(cause)) }
    phase = .selecting
    if verdict == .retryElsewhere { return .attempt }
    attempts.forgiveLast()
    return .redial
  }

  // MARK: The response

  /// A head with a 1xx status that is not 101.
  public mutating func interimReceived(status: UInt16, at now: Instant) -> Action {
    lastProgress = now
    if hasAnswered || (status == 100 && hasContinued) { return .wait }
    if status == 100 { hasContinued = true }
    return .forwardInterim
  }

  /// A final head. `retries`: its status is to be retried elsewhere, and a retry is possible.
  public mutating func headReceived(status: UInt16, retries: Bool, at now: Instant) -> Action {
    lastProgress = now
    attempts.noteStatus(status, at: now)
    if retries { return attemptFailed(.status(status), verdict: .retryElsewhere, at: now) }
    phase = .forwarding
    return .forward
  }

  /// A 101 was accepted and forwarded.
  public mutating func relayStarted(at now: Instant) {
    attempts.noteStatus(101, at: now)
    phase = .relaying
    lastProgress = now
  }

  public mutating func responseEnded(at now: Instant) -> Action {
    attempts.endLast(.succeeded, at: now)
    phase = .ended(nil)
    return .finish
  }

  // MARK: Both directions

  /// Part of a body was received, or accepted by the socket of the other side.
  public mutating func progressed(at now: Instant) { lastProgress = now }

  /// How much of the request body has arrived, and whether we are waiting for more from the client.
  /// Call it before you ask for a deadline.
  public mutating func bodyReceived(
    _ byteCount: UInt64, awaitsMore: Bool, _ limits: ExchangeLimits, at now: Instant
  ) {
    guard let rate = limits.clientRate, !isRequestComplete else { return }
    pace.update(byteCount: byteCount, isAwaited: awaitsMore && isConnected, rate: rate, at: now)
  }

  private mutating func giveUp(_ reason: ExchangeFailure) -> Action {
    let action = hasAnswered ? Action.cut : .answer(status: reason.status)
    phase = .ended(reason)
    return action
  }

  /// The total timeout starts when the request is complete: a long upload doesn't make a backend
  /// slow. The idle timeouts cover the upload.
  private func total(_ limits: ExchangeLimits) -> Instant {
    guard let requestCompletedAt else { return .never }
    return requestCompletedAt + limits.total
  }
}

// MARK: - Time

extension Exchange {
  /// Which side must send or accept the next byte; the caller knows which socket is full.
  public enum Side: Equatable, Sendable { case client, backend }

  /// What it means if nothing has happened by the deadline.
  public enum Expiry: Equatable, Sendable {
    /// Collecting has ended: call `collectingEnded`.
    case collected
    /// No slot became free in time: call `nothingAvailable`.
    case queue
    /// The attempt has failed: call `attemptFailed`.
    case attempt(FailureCause)
    /// The client is too slow: call `refuse`.
    case client(ExchangeFailure)
    /// No byte was relayed: call `responseEnded`.
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
    case (.selecting, _), (.ended, _):
      return nil
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
      return (lastProgress + limits.relayIdle, .relay)
    }
  }
}

/// The timeouts of one exchange.
public struct ExchangeLimits: Sendable {
  /// Until a slot becomes free in a full pool.
  public var queue: TimeSpan
  /// Until the connection is established.
  public var connect: TimeSpan
  /// From the end of the request to the head of the final response, for each attempt.
  public var response: TimeSpan
  /// The same for all attempts together.
  public var total: TimeSpan
  /// Between two pieces of a body that the client sends or receives.
  public var clientIdle: TimeSpan
  /// Between two pieces of a body that the backend sends or receives.
  public var idle: TimeSpan
  /// Without a byte in either direction on a relay.
  public var relayIdle: TimeSpan
  /// The minimum rate of a client that sends a body; nil for none.
  public var clientRate: MinimumRate?

  public init(
    queue: TimeSpan = .zero, connect: TimeSpan, response: TimeSpan, total: TimeSpan,
    clientIdle: TimeSpan, idle: TimeSpan, relayIdle: TimeSpan, clientRate: MinimumRate? = nil
  ) {
    self.queue = queue
    self.connect = connect
    self.response = response
    self.total = total
    self.clientIdle = clientIdle
    self.idle = idle
    self.relayIdle = relayIdle
    self.clientRate = clientRate
  }
}
