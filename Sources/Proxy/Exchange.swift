// One request on its way through the proxy: what has happened, and what is to be done next.
//
// Pure: events and the time come in, an action comes out; whoever calls carries it out. It moves no
// bytes and knows no HTTP version, so that retries, early answers, slow peers and vanished clients
// are rows of a table test. The request may end in any phase, since each direction runs by itself:
//
//                   [queued]
//                      ▲▼
//   [collecting] ─► selecting ─► connecting ─► awaiting ─┬► forwarding ─► ended
//                       ▲            │            │      └► relaying ───► ended
//                       └────────────┴────────────┴── failed: again, or ended
//
// What may be tried again is Balancing's RetryPolicy. That nothing is tried again once a byte of a
// final response may have gone downstream is kept here: nothing leads back from `forwarding`.

public import Balancing
public import Primitives

// Not copyable, since every copy would be one of all its attempts.
public struct Exchange: ~Copyable, Sendable {
  /// What the caller has to do.
  public enum Action: Equatable, Sendable {
    case wait
    /// Select a member, and start an attempt there.
    case attempt
    /// Start an attempt on a fresh connection to the same member.
    case redial
    /// Send the response head downstream and let the body follow.
    case forward
    /// Send the interim response downstream.
    case forwardInterim
    /// The answer has ended on both sides: log it, and go on with the connections.
    case finish
    /// Answer the client ourselves and end the attempt, if there is one.
    case answer(status: UInt16)
    /// Cut the client's connection so that it can't take the answer for whole.
    case cut
  }

  public enum Phase: Equatable, Sendable {
    /// The body of a small request is waited for, so that a slow sender holds no backend's thread.
    case collecting(until: Instant)
    /// The caller is looking for a member, which takes no time.
    case selecting
    /// All members are full, and a place is waited for.
    case queued(since: Instant)
    case connecting(since: Instant)
    /// The attempt has its connection; a final response has not begun.
    case awaiting(since: Instant)
    case forwarding
    /// No response any more but bytes both ways, after a 101.
    case relaying
    /// Nil when it was answered as the backend wished.
    case ended(ExchangeFailure?)
  }

  public let startedAt: Instant
  /// May the request be sent twice without harm (RFC 9110 9.2.2)?
  public let isIdempotent: Bool
  public private(set) var phase = Phase.selecting
  public private(set) var attempts = AttemptList()

  /// Nil while the request is still arriving.
  private var requestCompletedAt: Instant?
  private var lastProgress: Instant
  /// Whether the client sends its body fast enough.
  private var pace = Pace()
  /// Did a 100 (Continue) go downstream? A further attempt brings another.
  private var hasContinued = false

  public init(startedAt: Instant, isIdempotent: Bool) {
    self.startedAt = startedAt
    self.isIdempotent = isIdempotent
    lastProgress = startedAt
  }

  public var isRequestComplete: Bool { requestCompletedAt != nil }

  /// Has there been an attempt, so that another is a retry?
  public var hasAttempted: Bool { attempts.count > 0 }

  /// Has the attempt a connection for the request?
  public var isConnected: Bool {
    switch phase {
    case .awaiting, .forwarding, .relaying: true
    case .collecting, .selecting, .queued, .connecting, .ended: false
    }
  }

  /// May a byte of a final response have gone downstream?
  public var hasAnswered: Bool {
    switch phase {
    case .forwarding, .relaying, .ended: true
    case .collecting, .selecting, .queued, .connecting, .awaiting: false
    }
  }

  /// Why the exchange ended as it did, where it didn't simply succeed.
  public var failure: ExchangeFailure? {
    if case .ended(let failure) = phase { failure } else { nil }
  }

  // MARK: The request

  /// The head is there. A small body is waited for until `collectsUntil`, if there is one.
  public mutating func begin(collectsUntil: Instant?) -> Action {
    guard let collectsUntil, !isRequestComplete else { return .attempt }
    phase = .collecting(until: collectsUntil)
    return .wait
  }

  public mutating func requestEnded(at now: Instant) -> Action {
    requestCompletedAt = now
    lastProgress = now
    return collectingEnded()
  }

  /// What there is to be collected is more than fits, or has come, or takes too long.
  public mutating func collectingEnded() -> Action {
    guard case .collecting = phase else { return .wait }
    phase = .selecting
    return .attempt
  }

  /// The request turned out to be invalid, too large or too slow after its head was accepted, or
  /// there is no time left for it.
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
    phase = .awaiting(since: now)
    lastProgress = now
  }

  /// All members are full; the caller stands in line for a place, and looks again in its turn.
  public mutating func queued(at now: Instant) -> Action {
    phase = .queued(since: now)
    return .wait
  }

  /// No member could be selected.
  public mutating func nothingAvailable(_ reason: Unavailability) -> Action {
    // With an attempt behind it, its cause says more than that nobody else was left.
    if case .failed(let cause) = attempts.last?.result { return giveUp(.upstream(cause)) }
    return giveUp(.unavailable(reason))
  }

  /// Whether the request may be sent again after `failure`; asked before `attemptFailed`, so that
  /// the caller can have the retry budget's word in between.
  ///
  /// - Parameter hasOther: a member other than the one that failed is worth an attempt.
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

  /// The attempt came to nothing. The caller has closed the connection.
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

  /// A final head. `retries`: the status is one that is to be tried elsewhere, and may be.
  public mutating func headReceived(status: UInt16, retries: Bool, at now: Instant) -> Action {
    lastProgress = now
    attempts.noteStatus(status)
    if retries { return attemptFailed(.status(status), verdict: .retryElsewhere, at: now) }
    phase = .forwarding
    return .forward
  }

  /// A 101 was accepted and sent on.
  public mutating func relayStarted(at now: Instant) {
    attempts.noteStatus(101)
    phase = .relaying
    lastProgress = now
  }

  public mutating func responseEnded(at now: Instant) -> Action {
    attempts.endLast(.succeeded, at: now)
    phase = .ended(nil)
    return .finish
  }

  // MARK: Both

  /// Some of a body was received, or taken by the socket of the other side.
  public mutating func progressed(at now: Instant) { lastProgress = now }

  /// How much of the request's body has come, and whether it is the client from whom more is
  /// expected now. To be told before a deadline is asked for.
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

  /// The total time-out counts from when the request was complete: a long upload is not a slow
  /// backend, and the time-outs between two bytes look after it.
  private func total(_ limits: ExchangeLimits) -> Instant {
    guard let requestCompletedAt else { return .never }
    return requestCompletedAt + limits.total
  }
}

// MARK: - Time

extension Exchange {
  /// Whose turn it is to send or take the next byte; the caller knows, by whose socket is full.
  public enum Side: Equatable, Sendable { case client, backend }

  /// What it means when nothing has happened until the deadline.
  public enum Expiry: Equatable, Sendable {
    /// Enough was collected: `collectingEnded`.
    case collected
    /// No place came free in time: `nothingAvailable`.
    case queue
    /// The attempt has failed: `attemptFailed`.
    case attempt(FailureCause)
    /// The client is too slow: `refuse`.
    case client(ExchangeFailure)
    /// Nothing has moved over a relay: `responseEnded`.
    case relay
  }

  /// When `expiry` has to be asked unless something happens before.
  public func deadline(_ limits: ExchangeLimits, awaiting side: Side) -> Instant {
    patience(limits, side)?.deadline ?? .never
  }

  /// What follows at `now`; nil when the deadline lies further on, as it does after progress.
  public func expiry(
    _ limits: ExchangeLimits, awaiting side: Side, at now: Instant
  ) -> Expiry? {
    guard let patience = patience(limits, side), patience.deadline <= now else { return nil }
    return patience.expiry
  }

  /// How long the next event is waited for, and what it means if it doesn't come.
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
      // The time of a response counts from the end of the request, and anew for each attempt.
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

/// The time-outs of one exchange.
public struct ExchangeLimits: Sendable {
  /// For a place to come free at a full pool.
  public var queue: TimeSpan
  /// From dialling to the connection.
  public var connect: TimeSpan
  /// From the end of the request to the head of the final response, for each attempt.
  public var response: TimeSpan
  /// The same over all attempts.
  public var total: TimeSpan
  /// Between two pieces of a body that the client sends or takes.
  public var clientIdle: TimeSpan
  /// Between two pieces of a body that the backend sends or takes.
  public var idle: TimeSpan
  /// Without a byte either way over a relay.
  public var relayIdle: TimeSpan
  /// What a client that sends a body must keep up; nil for no minimum.
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
