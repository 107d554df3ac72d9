// The attempts of one exchange, for the log: which backend, how long, and the result.
//
// The last attempt is stored inline, because an exchange must not allocate while nothing fails. A
// new connection after a stale one is a separate entry and doesn't count against max-attempts.

public import Balancing
public import Primitives

public struct Attempt: Sendable {
  public enum Result: Equatable, Sendable {
    case pending
    case succeeded
    case failed(FailureCause)
    case clientAborted
    /// Martlet did not wait for the response: the request was refused later, or Martlet stopped.
    case abandoned

    public var name: StaticString {
      switch self {
      case .pending: "pending"
      case .succeeded: "ok"
      case .failed(let cause): cause.name
      case .clientAborted: "client-aborted"
      case .abandoned: "abandoned"
      }
    }
  }

  /// The backend's id.
  public var backend: Int
  public var isReused: Bool
  /// No member was healthy, and the pool fails open.
  public var isFailOpen = false
  public var startedAt: Instant
  public var duration = TimeSpan.zero
  /// The time until the connection was established; zero for a reused one.
  public var connectDuration = TimeSpan.zero
  /// When the head of the response arrived; nil before that.
  public var respondedAt: Instant?
  public var status: UInt16 = 0
  /// Nil if the request was not sent.
  public var version: BackendVersion?
  public var result = Result.pending

  public init(backend: Int, isReused: Bool, isFailOpen: Bool = false, startedAt: Instant) {
    self.backend = backend
    self.isReused = isReused
    self.isFailOpen = isFailOpen
    self.startedAt = startedAt
  }
}

public struct AttemptList: Sendable {
  private var earlier: [Attempt] = []
  public private(set) var last: Attempt?
  /// The number of attempts that count against max-attempts.
  public private(set) var countedCount = 0

  public init() {}

  public var count: Int { last == nil ? 0 : earlier.count + 1 }

  /// In chronological order; `index` is below `count`.
  public subscript(index: Int) -> Attempt {
    if index == earlier.count, let last { return last }
    return earlier[index]
  }

  /// Whether the backend of the last attempt was already tried over a new connection.
  var lastBackendHadFreshConnection: Bool {
    guard let last else { return false }
    return !last.isReused || earlier.contains { $0.backend == last.backend && !$0.isReused }
  }

  public mutating func append(_ attempt: Attempt) {
    if let last { earlier.append(last) }
    last = attempt
    countedCount += 1
  }

  /// Keeps the last one only, for what may have any number.
  public mutating func forgetEarlier() { earlier.removeAll() }

  /// Ends the current attempt; one that has already ended keeps its result.
  public mutating func endLast(_ result: Attempt.Result, at now: Instant) {
    guard let startedAt = last?.startedAt, last?.result == .pending else { return }
    last?.result = result
    last?.duration = now - startedAt
  }

  mutating func noteConnected(at now: Instant) {
    guard let startedAt = last?.startedAt else { return }
    last?.connectDuration = now - startedAt
  }

  mutating func noteVersion(_ version: BackendVersion) { last?.version = version }

  mutating func noteStatus(_ status: UInt16, at now: Instant) {
    last?.status = status
    last?.respondedAt = now
  }

  /// Don't count the last attempt: its pooled connection was already closed.
  mutating func forgiveLast() { countedCount -= 1 }
}
