// Waiting for a place while every backend of a pool is full, instead of a 503 at once.

public import Primitives

extension Configuration {
  /// The line in front of a full pool.
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
    Requests that wait while every backend of the pool has reached its `max-connections`, first \
    come, first served over all workers. Without `max-connections` nothing ever waits.
    """
  static let keys: [Key<Self>] = [
    Key(
      "size", \.size, .integer(1...100_000),
      "Requests that wait at a time; one more gets 503 with Retry-After at once. 100 bridges a "
        + "burst; a longer line is a wait in vain for most who stand in it."),
    Key(
      "timeout", \.timeout, .duration(.milliseconds(10) ... .seconds(3600)),
      "How long a request waits; then it gets 503 with Retry-After. 2s, because people wait that "
        + "long for a page and hardly longer."),
  ]
}
