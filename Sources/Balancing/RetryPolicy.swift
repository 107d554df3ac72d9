// What may be retried, and where: a pure decision on facts.
//
//   failure                                     request taken by send   retried for
//   dial refused, timed out, failed             nothing                 any method, elsewhere
//   fresh connection died before the response   nothing                 any method, elsewhere
//   reused connection died before the response  nothing                 any method, same, fresh
//                                               something               idempotent, same, fresh
//   fresh connection died before the response   something               idempotent, elsewhere
//   response time-out, status that is named     something               idempotent, and only while
//                                                                       another member is available
//   bad response                                something               never: it was carried out
//
// and never once a byte of a final response went downstream, without the whole body at hand, or
// past the attempts or the total deadline (RFC 9110 9.2.2). RetryBudget is asked afterwards.

public import Primitives

/// One attempt's end, as far as the retry cares.
public struct AttemptFailure: Equatable, Sendable {
  public var cause: FailureCause
  /// The connection had served an exchange before, so it may have been closed in idleness.
  public var wasReused: Bool
  /// How many bytes of the request `send` had taken.
  public var sentByteCount: Int

  public init(cause: FailureCause, wasReused: Bool, sentByteCount: Int) {
    self.cause = cause
    self.wasReused = wasReused
    self.sentByteCount = sentByteCount
  }

  /// A kept connection that turned out to be closed, which says nothing about the backend.
  var isStaleConnection: Bool { wasReused && cause.isDeath }
}

/// How far the exchange has come.
public struct ExchangeProgress: Equatable, Sendable {
  /// By its method (RFC 9110 9.2.2).
  public var isIdempotent: Bool
  /// All body bytes that were read so far are still there to be sent again; true without a body.
  public var canReplayBody: Bool
  /// A byte of a final response went downstream; interim ones (1xx) don't count.
  public var hasAnswered: Bool
  /// Attempts so far, the failed one included; a fresh connection after a stale one is none.
  public var attemptCount: Int
  /// The backend of the failed attempt had its fresh connection already.
  public var hadFreshConnection: Bool
  /// A member is available that is worth another attempt (`Selection.hasOther`).
  public var hasOther: Bool

  public init(
    isIdempotent: Bool, canReplayBody: Bool = true, hasAnswered: Bool = false,
    attemptCount: Int = 1, hadFreshConnection: Bool = false, hasOther: Bool = true
  ) {
    self.isIdempotent = isIdempotent
    self.canReplayBody = canReplayBody
    self.hasAnswered = hasAnswered
    self.attemptCount = attemptCount
    self.hadFreshConnection = hadFreshConnection
    self.hasOther = hasOther
  }
}

/// What follows a failed attempt.
public enum RetryVerdict: Equatable, Sendable {
  /// Another pick; the backend that failed comes last.
  case retryElsewhere
  /// The same backend over a new connection, under the same pick: not a failed attempt.
  case retrySameFresh
  /// The client gets an answer: `FailureCause.status`.
  case giveUp
}

/// The retry rules of a route or pool.
public struct RetryPolicy: Equatable, Sendable {
  public static let maxAttemptsRange = 1...TriedSet.capacity

  /// Attempts for one exchange, the first included; 1-8, default 3.
  public var maxAttempts = 3
  /// Statuses of a response that is thrown away for another attempt; default none.
  public var statuses: [UInt16] = []

  public init() {}

  /// What follows `failure`. `deadline` is that of the whole exchange.
  public func verdict(
    for failure: AttemptFailure, of progress: ExchangeProgress, at now: Instant,
    deadline: Instant
  ) -> RetryVerdict {
    guard !progress.hasAnswered, progress.canReplayBody, now < deadline,
      isRepeatable(failure, progress)
    else { return .giveUp }
    if failure.isStaleConnection && !progress.hadFreshConnection { return .retrySameFresh }
    return progress.attemptCount < maxAttempts ? .retryElsewhere : .giveUp
  }

  /// Whether the request may be sent a second time without being carried out twice.
  private func isRepeatable(_ failure: AttemptFailure, _ progress: ExchangeProgress) -> Bool {
    switch failure.cause {
    case .connectRefused, .connectTimeout, .connectFailed: true
    case .resetBeforeResponse, .closedBeforeResponse:
      failure.sentByteCount == 0 || progress.isIdempotent
    // The same backend would be as slow, or say the same, and the client would wait for nothing.
    case .responseTimeout: progress.isIdempotent && progress.hasOther
    case .status(let status):
      progress.isIdempotent && progress.hasOther && statuses.contains(status)
    case .badResponse, .truncatedResponse, .responseStalled: false
    }
  }

  /// Whether the failure counts against the backend's health. A stale connection doesn't, nor does
  /// a status below 500 (a 429 is the client's affair) or one that the policy doesn't name.
  public func blamesBackend(_ failure: AttemptFailure) -> Bool {
    switch failure.cause {
    case .status(let status): status >= 500 && statuses.contains(status)
    case .connectRefused, .connectTimeout, .connectFailed, .responseTimeout, .badResponse,
      .truncatedResponse, .responseStalled:
      true
    case .resetBeforeResponse, .closedBeforeResponse: !failure.wasReused
    }
  }
}
