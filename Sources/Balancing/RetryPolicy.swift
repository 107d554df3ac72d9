// What may be retried, and where: a pure function of the facts.
//   failure                                     request taken by send   retried for
//   dial or TLS handshake failed, no HTTP/2     nothing                 any method, elsewhere
//   not processed, as the backend says          nothing                 any method, same, 5 times
//   fresh connection died before the response   nothing                 any method, elsewhere
//   reused connection died before the response  nothing                 any method, same, fresh
//                                               something               idempotent, same, fresh
//   fresh connection died, or answers no PING   something               idempotent, elsewhere
//   response timeout, status that is listed     something               idempotent, if another
//   gRPC status that is listed                  something               any, if another
//   bad response                                something               never: it was carried out
//
// Not after a byte of a final response, without the whole body in memory, or past the attempts or
// total deadline (RFC 9110 9.2.2). RetryBudget decides afterwards.

public import Primitives

/// How an attempt failed, as far as the retry depends on it.
public struct AttemptFailure: Equatable, Sendable {
  public var cause: FailureCause
  /// The connection was used before, so the backend may have closed it while it was idle.
  public var wasReused: Bool
  /// How many bytes of the request `send` has accepted.
  public var sentByteCount: Int

  public init(cause: FailureCause, wasReused: Bool, sentByteCount: Int) {
    self.cause = cause
    self.wasReused = wasReused
    self.sentByteCount = sentByteCount
  }

  /// A keep-alive connection that was already closed: this says nothing about the backend.
  var isStaleConnection: Bool { wasReused && cause.isDeath }
}

/// The state of the exchange.
public struct ExchangeProgress: Equatable, Sendable {
  /// By its method (RFC 9110 9.2.2).
  public var isIdempotent: Bool
  /// All body bytes that were read so far are still in memory and can be sent again; true without a
  /// body.
  public var canReplayBody: Bool
  /// A byte of a final response was sent to the client; interim responses (1xx) don't count.
  public var hasAnswered: Bool
  /// Attempts so far, including the failed one. A new connection after a stale one doesn't count.
  public var attemptCount: Int
  /// The failed attempt's backend was already tried over a new connection.
  public var hadFreshConnection: Bool
  /// Another member is worth an attempt (`Selection.hasOther`).
  public var hasOther: Bool
  /// How many attempts the backends did not process. They don't count as attempts, up to
  /// `RetryPolicy.unprocessedMax`.
  public var unprocessedCount: Int

  public init(
    isIdempotent: Bool, canReplayBody: Bool = true, hasAnswered: Bool = false,
    attemptCount: Int = 1, hadFreshConnection: Bool = false, hasOther: Bool = true,
    unprocessedCount: Int = 0
  ) {
    self.isIdempotent = isIdempotent
    self.canReplayBody = canReplayBody
    self.hasAnswered = hasAnswered
    self.attemptCount = attemptCount
    self.hadFreshConnection = hadFreshConnection
    self.hasOther = hasOther
    self.unprocessedCount = unprocessedCount
  }
}

/// What to do after a failed attempt.
public enum RetryVerdict: Equatable, Sendable {
  /// Pick again; the failed backend comes last.
  case retryElsewhere
  /// Use the same backend and the same pick over a new connection. It doesn't count as a failed
  /// attempt.
  case retrySameFresh
  /// Answer the client with `FailureCause.status`.
  case giveUp
}

/// The retry rules of a route or pool.
public struct RetryPolicy: Equatable, Sendable {
  public static let maxAttemptsRange = 1...TriedSet.capacity
  /// How often a request that was not processed is sent again without counting as an attempt. A
  /// backend that refuses each stream, or leaves each time, must not be asked for ever.
  public static let unprocessedMax = 5

  /// Attempts for one exchange, including the first; 1-8, default 3.
  public var maxAttempts = 3
  /// Response statuses that cause a retry; the response is discarded. Default none.
  public var statuses: [UInt16] = []
  /// Statuses of gRPC calls that cause a retry. Default none.
  public var grpcStatuses: [UInt8] = []

  public init() {}

  /// What to do after `failure`. `deadline` is that of the whole exchange.
  public func verdict(
    for failure: AttemptFailure, of progress: ExchangeProgress, at now: Instant,
    deadline: Instant
  ) -> RetryVerdict {
    guard !progress.hasAnswered, progress.canReplayBody, now < deadline,
      isRepeatable(failure, progress)
    else { return .giveUp }
    if failure.cause == .notProcessed && progress.unprocessedCount < Self.unprocessedMax {
      return .retrySameFresh
    }
    if failure.isStaleConnection && !progress.hadFreshConnection { return .retrySameFresh }
    return progress.attemptCount < maxAttempts ? .retryElsewhere : .giveUp
  }

  /// Whether the request can be sent a second time without being carried out twice.
  private func isRepeatable(_ failure: AttemptFailure, _ progress: ExchangeProgress) -> Bool {
    switch failure.cause {
    case .connectRefused, .connectTimeout, .connectFailed, .tlsUntrusted, .tlsExpired,
      .tlsWrongName, .tlsSelfSigned, .tlsPin, .tlsNotSpoken, .tlsTimeout, .tlsFailed:
      true
    // A server of HTTP/1 takes nothing that follows the preface for a request (RFC 9113 3.4).
    case .noHTTP2: true
    case .notProcessed: true
    // A backend may refuse our certificate after the handshake (RFC 8446 4.4.2).
    case .resetBeforeResponse, .closedBeforeResponse, .pingTimeout, .tlsAlert:
      failure.sentByteCount == 0 || progress.isIdempotent
    // The same backend would be as slow, or send the same status, so the client would only wait
    // longer.
    case .responseTimeout: progress.isIdempotent && progress.hasOther
    case .status(let status):
      progress.isIdempotent && progress.hasOther && statuses.contains(status)
    // A call that failed without a message was not carried out, as far as its client may know
    // (gRPC A6). The operator says for which statuses that is true.
    case .grpcStatus(let status): progress.hasOther && grpcStatuses.contains(status)
    case .badResponse, .truncatedResponse, .responseStalled, .relayReset, .grpcNotServing,
      .noExtendedConnect:
      false
    }
  }

  /// UNAVAILABLE. Other statuses are about a call, or about its client.
  private static let unavailable: UInt8 = 14

  /// Whether the failure counts against the backend's health. A stale connection doesn't count, nor
  /// does a status below 500 (a 429 is caused by the client) or one that the policy doesn't list.
  public func blamesBackend(_ failure: AttemptFailure) -> Bool {
    switch failure.cause {
    case .status(let status): status >= 500 && statuses.contains(status)
    case .grpcStatus(let status): status == Self.unavailable && grpcStatuses.contains(status)
    case .connectRefused, .connectTimeout, .connectFailed, .tlsUntrusted, .tlsExpired,
      .tlsWrongName, .tlsSelfSigned, .tlsPin, .tlsNotSpoken, .tlsAlert, .tlsTimeout, .tlsFailed,
      .noHTTP2, .pingTimeout, .responseTimeout, .badResponse, .truncatedResponse,
      .responseStalled, .grpcNotServing:
      true
    case .resetBeforeResponse, .closedBeforeResponse: !failure.wasReused
    // Many programs reset a connection to end it.
    case .relayReset, .notProcessed, .noExtendedConnect: false
    }
  }
}
