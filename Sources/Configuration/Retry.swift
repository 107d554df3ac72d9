// Settings of retries. The rules themselves are in Balancing (RetryPolicy).

extension Configuration {
  /// Bounds of retries.
  public struct Retry: Hashable, Sendable {
    /// The first attempt included.
    public var maxAttempts = 3
    /// Statuses after which an idempotent request is retried on another backend.
    public var statuses: [ClosedRange<Int>] = []
    /// Statuses of gRPC after which a call is retried on another backend.
    public var grpcStatuses: [GRPCStatus] = []
    /// Maximum percentage of active exchanges that are retries after a timeout or a status.
    public var budgetPercent = 20
    /// This many such retries at the same time are always allowed.
    public var budgetMinimum = 3
    /// Bytes of a request's body that are kept for a retry.
    public var replaySize = 64 * 1024

    public init() {}
  }

  /// The statuses of gRPC but OK, in the order of their codes.
  public enum GRPCStatus: String, Choice {
    case cancelled, unknown
    case invalidArgument = "invalid-argument"
    case deadlineExceeded = "deadline-exceeded"
    case notFound = "not-found"
    case alreadyExists = "already-exists"
    case permissionDenied = "permission-denied"
    case resourceExhausted = "resource-exhausted"
    case failedPrecondition = "failed-precondition"
    case aborted
    case outOfRange = "out-of-range"
    case unimplemented, `internal`, unavailable
    case dataLoss = "data-loss"
    case unauthenticated
    static var noun: String { "the name of a gRPC status" }
    /// Their codes.
    static var meant: [String: GRPCStatus] {
      Dictionary(uniqueKeysWithValues: allCases.map { ("\($0.code)", $0) })
    }

    public var code: UInt8 { UInt8((Self.allCases.firstIndex(of: self) ?? 0) + 1) }
  }
}

extension Configuration.Retry: Section {
  static let title = "retry"
  static let about = """
    Retries after a failure, on another backend if one is available. A request with a method that \
    is not idempotent (POST, PATCH) is retried only if no byte of it was sent (RFC 9110, 9.2.2). \
    No request is retried after its response has begun.
    """
  static let keys: [Key<Self>] = [
    Key(
      "max-attempts", \.maxAttempts, .integer(1...8),
      "Maximum number of attempts for a request, the first one included. `1` turns retries off. "
        + "One case does not count as an attempt: the backend has closed an idle connection that "
        + "Martlet reuses. If the request may be retried, Martlet then sends it once more to the "
        + "same backend, over a new connection, even with `1`."),
    Key(
      "statuses", \.statuses, .list(of: .statuses),
      "Statuses of a backend after which an idempotent request is retried on another backend, "
        + "such as `[502, 503, 504]`. If no other backend is available, the client gets the "
        + "response. Empty by default, because the backend may have sent the status on purpose."),
    Key(
      "grpc-statuses", \.grpcStatuses, .list(of: .choice),
      "gRPC statuses after which a call is retried on another backend, such as "
        + "`[\"unavailable\"]`. Only if the backend has sent no message, and while the whole "
        + "request is kept (`replay-size`). A server can prevent a retry with "
        + "`grpc-retry-pushback-ms`. With `unavailable`, this status also counts as a failure of "
        + "the backend. Empty by default."),
    Key(
      "budget-percent", \.budgetPercent, .integer(0...100),
      "Limit for retries after a `timeouts.response` timeout, or one of `statuses` or "
        + "`grpc-statuses`, as a percentage of the pool's active requests. If the limit is "
        + "reached, Martlet does not retry. So retries can't overload a slow pool. Retries after a "
        + "refused or broken connection don't count."),
    Key(
      "budget-minimum", \.budgetMinimum, .integer(0...10_000),
      "Lower bound of the limit in `budget-percent`: this many such retries are always allowed at "
        + "the same time. Reason: with few active requests, the percentage would allow none."),
    Key(
      "replay-size", \.replaySize, .size(0 ... 16 << 20),
      "Maximum number of bytes of a request body that Martlet keeps in memory for a retry. If "
        + "Martlet has sent more of the body than this to a backend, it can't retry the request."),
  ]
}
