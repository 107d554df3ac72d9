// The queue for requests while every backend of a pool is full.

public import Primitives

extension Configuration {
  /// The queue of a pool.
  public struct Queue: Hashable, Sendable {
    /// Over all workers.
    public var size = 100
    public var timeout = TimeSpan.seconds(2)

    public init() {}
  }
}

extension Configuration.Queue: Section {
  static let title = "queue"
  static let about = """
    Queue for requests while all backends of the pool are at `max-connections`. First in, first \
    out, over all workers. If no backend has `max-connections`, the queue is not used.
    """
  static let keys: [Key<Self>] = [
    Key(
      "size", \.size, .integer(1...100_000),
      "Maximum number of requests in the queue. Further requests get 503 with Retry-After "
        + "immediately. Default: 100, enough for a short burst. In a longer queue, most requests "
        + "would only wait for their timeout."),
    Key(
      "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(3600)),
      "Maximum time in the queue. Then the request gets 503 with Retry-After. Default: 2s, "
        + "because most users don't wait longer for a page."),
  ]
}
