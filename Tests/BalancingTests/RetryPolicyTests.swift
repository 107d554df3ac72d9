// RetryPolicy: each row of the table, for idempotent and other methods.

import Primitives
import Testing

@testable import Balancing

@Suite struct RetryPolicyTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var cause: FailureCause
    var reused = false
    var sent = 0
    var idempotent: RetryVerdict
    var other: RetryVerdict
    var blames = true

    var testDescription: String {
      "\(cause.name)\(reused ? " reused" : "")\(sent > 0 ? " sent" : "")"
    }
  }

  private static let policy = {
    var policy = RetryPolicy()
    policy.statuses = [429, 503]
    policy.grpcStatuses = [8, 14]
    return policy
  }()
  private static let now = Instant.origin + .seconds(1)
  private static let deadline = Instant.origin + .seconds(2)

  static let rows: [Row] = [
    // Calls of gRPC have POST.
    Row(
      cause: .grpcStatus(14), sent: 1, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(
      cause: .grpcStatus(8), sent: 1, idempotent: .retryElsewhere, other: .retryElsewhere,
      blames: false),
    Row(cause: .grpcStatus(13), sent: 1, idempotent: .giveUp, other: .giveUp, blames: false),
    // No byte of the request was sent: any method.
    Row(cause: .connectRefused, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .connectTimeout, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .connectFailed, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsUntrusted, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsExpired, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsWrongName, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsSelfSigned, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsPin, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsNotSpoken, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsTimeout, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsFailed, idempotent: .retryElsewhere, other: .retryElsewhere),
    // The preface was sent, and perhaps a request behind it, which no HTTP/1 server carries out.
    Row(cause: .noHTTP2, sent: 1, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .tlsAlert(48), idempotent: .retryElsewhere, other: .retryElsewhere),
    // An alert after the handshake, which may have come after the request.
    Row(cause: .tlsAlert(116), sent: 1, idempotent: .retryElsewhere, other: .giveUp),
    Row(cause: .resetBeforeResponse, idempotent: .retryElsewhere, other: .retryElsewhere),
    Row(cause: .closedBeforeResponse, idempotent: .retryElsewhere, other: .retryElsewhere),
    // A reused connection that died: the same backend over a new connection, without blame.
    Row(
      cause: .resetBeforeResponse, reused: true, idempotent: .retrySameFresh,
      other: .retrySameFresh, blames: false),
    Row(
      cause: .closedBeforeResponse, reused: true, idempotent: .retrySameFresh,
      other: .retrySameFresh, blames: false),
    Row(
      cause: .resetBeforeResponse, reused: true, sent: 1, idempotent: .retrySameFresh,
      other: .giveUp, blames: false),
    Row(
      cause: .closedBeforeResponse, reused: true, sent: 1, idempotent: .retrySameFresh,
      other: .giveUp, blames: false),
    // Not begun: the same backend.
    Row(
      cause: .notProcessed, idempotent: .retrySameFresh, other: .retrySameFresh, blames: false),
    Row(
      cause: .notProcessed, reused: true, idempotent: .retrySameFresh, other: .retrySameFresh,
      blames: false),
    Row(cause: .noExtendedConnect, idempotent: .giveUp, other: .giveUp, blames: false),
    // A new connection that died, a timeout, a status: idempotent methods only.
    Row(cause: .resetBeforeResponse, sent: 1, idempotent: .retryElsewhere, other: .giveUp),
    Row(cause: .closedBeforeResponse, sent: 1, idempotent: .retryElsewhere, other: .giveUp),
    Row(cause: .responseTimeout, sent: 1, idempotent: .retryElsewhere, other: .giveUp),
    Row(
      cause: .pingTimeout, reused: true, sent: 1, idempotent: .retryElsewhere, other: .giveUp),
    Row(
      cause: .responseTimeout, reused: true, sent: 1, idempotent: .retryElsewhere,
      other: .giveUp),
    Row(cause: .status(503), sent: 1, idempotent: .retryElsewhere, other: .giveUp),
    Row(
      cause: .status(429), sent: 1, idempotent: .retryElsewhere, other: .giveUp, blames: false),
    Row(cause: .status(500), sent: 1, idempotent: .giveUp, other: .giveUp, blames: false),
    // The backend carried it out, even if its response is invalid.
    Row(cause: .badResponse, sent: 1, idempotent: .giveUp, other: .giveUp),
  ]

  private func verdict(_ row: Row, _ progress: ExchangeProgress, at now: Instant = now)
    -> RetryVerdict
  {
    Self.policy.verdict(for: failure(row), of: progress, at: now, deadline: Self.deadline)
  }

  private func failure(_ row: Row) -> AttemptFailure {
    AttemptFailure(cause: row.cause, wasReused: row.reused, sentByteCount: row.sent)
  }

  @Test(arguments: rows)
  func theRowHolds(row: Row) {
    #expect(verdict(row, ExchangeProgress(isIdempotent: true)) == row.idempotent)
    #expect(verdict(row, ExchangeProgress(isIdempotent: false)) == row.other)
    #expect(Self.policy.blamesBackend(failure(row)) == row.blames)
  }

  @Test(arguments: rows)
  func nothingIsRetriedAfterAByteOfTheAnswerWentDownstream(row: Row) {
    #expect(verdict(row, ExchangeProgress(isIdempotent: true, hasAnswered: true)) == .giveUp)
  }

  @Test(arguments: rows)
  func nothingIsRetriedWhoseBodyIsGone(row: Row) {
    #expect(verdict(row, ExchangeProgress(isIdempotent: true, canReplayBody: false)) == .giveUp)
  }

  @Test(arguments: rows)
  func nothingIsRetriedAtTheDeadline(row: Row) {
    let progress = ExchangeProgress(isIdempotent: true)
    #expect(verdict(row, progress, at: Self.deadline) == .giveUp)
    let before = Self.deadline + .nanoseconds(-1)
    #expect(verdict(row, progress, at: before) == row.idempotent)
  }

  @Test(arguments: rows)
  func attemptsAreCounted(row: Row) {
    let second = ExchangeProgress(isIdempotent: true, attemptCount: 2)
    #expect(verdict(row, second) == row.idempotent)
    // A new connection after a stale one doesn't count as an attempt.
    let third = ExchangeProgress(isIdempotent: true, attemptCount: 3)
    let expected = row.idempotent == .retrySameFresh ? RetryVerdict.retrySameFresh : .giveUp
    #expect(verdict(row, third) == expected)
  }

  @Test(arguments: rows)
  func aTimeOutOrAStatusIsRetriedOnlyAtAnotherMember(row: Row) {
    let alone = ExchangeProgress(isIdempotent: true, hasOther: false)
    #expect(verdict(row, alone) == (row.cause.spendsBackend ? .giveUp : row.idempotent))
  }

  @Test func aBackendGetsOneFreshConnectionAnExchange() {
    let row = Row(
      cause: .resetBeforeResponse, reused: true, sent: 1, idempotent: .giveUp, other: .giveUp)
    let again = ExchangeProgress(isIdempotent: true, hadFreshConnection: true)
    #expect(verdict(row, again) == .retryElsewhere)
    let unsafe = ExchangeProgress(isIdempotent: false, hadFreshConnection: true)
    #expect(verdict(row, unsafe) == .giveUp)
  }

  @Test func oneAttemptMeansNoRetryElsewhere() {
    var policy = RetryPolicy()
    policy.maxAttempts = 1
    let failure = AttemptFailure(cause: .connectRefused, wasReused: false, sentByteCount: 0)
    let verdict = policy.verdict(
      for: failure, of: ExchangeProgress(isIdempotent: true), at: Self.now,
      deadline: Self.deadline)
    #expect(verdict == .giveUp)
  }
}

@Suite struct FailureCauseTests {
  @Test(arguments: [
    (.connectRefused, "connect-refused", 502), (.connectTimeout, "connect-timeout", 504),
    (.connectFailed, "connect-failed", 502), (.resetBeforeResponse, "reset-before-response", 502),
    (.closedBeforeResponse, "closed-before-response", 502),
    (.tlsUntrusted, "tls-untrusted", 502), (.tlsAlert(48), "tls-alert", 502),
    (.tlsTimeout, "tls-timeout", 504),
    (.responseTimeout, "response-timeout", 504), (.badResponse, "bad-response", 502),
    (.status(503), "status", 503),
  ] as [(FailureCause, String, UInt16)])
  func aCauseHasANameAndAStatus(cause: FailureCause, name: String, status: UInt16) {
    #expect("\(cause.name)" == name && cause.status == status)
  }
}
