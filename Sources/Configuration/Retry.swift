// What a pool tries again after a failure. The rules themselves are in Balancing (RetryPolicy).

extension Configuration {
  /// Bounds of retries.
  public struct Retry: Hashable, Sendable {
    /// The first attempt included.
    public var maxAttempts = 3
    /// Statuses of a backend that are tried elsewhere, for idempotent methods.
    public var statuses: [ClosedRange<Int>] = []
    /// Of the exchanges under way, how many in a hundred may be retries that cost a backend work.
    public var budgetPercent = 20
    /// So many retries at a time are allowed whatever the percentage says.
    public var budgetMinimum = 3
    /// Bytes of a request's body that are kept, to be sent again.
    public var replaySize = 64 * 1024

    public init() {}
  }
}

extension Configuration.Retry: Section {
  static let title = "retry"
  static let about = """
    What is tried again after a failure, on another backend if there is one. A request whose \
    method isn't idempotent (POST, PATCH) is only sent again when nothing of it was sent before, \
    and nothing is once the response has begun.
    """
  static let keys: [Key<Self>] = [
    Key(
      "max-attempts", \.maxAttempts, .integer(1...8),
      "Tries for one request, the first included; 1 turns retries off."),
    Key(
      "statuses", \.statuses, .list(of: .statuses),
      "Statuses of a backend after which an idempotent request is tried at another one, such as "
        + "`[502, 503, 504]`; where there is no other, the client gets the answer. None by "
        + "default: a status is the backend's own answer."),
    Key(
      "budget-percent", \.budgetPercent, .integer(0...100),
      "Retries after a time-out or a status may be so many in a hundred requests under way, so "
        + "that they can't finish off a pool that struggles."),
    Key(
      "budget-minimum", \.budgetMinimum, .integer(0...10_000),
      "So many such retries at a time are allowed at any rate, since a percentage of few "
        + "requests is none."),
    Key(
      "replay-size", \.replaySize, .size(0 ... 16 << 20),
      "How much of a request's body is kept to be sent again; a request with a larger body "
        + "isn't retried once that much was sent. It bounds the memory of an upload."),
  ]
}
