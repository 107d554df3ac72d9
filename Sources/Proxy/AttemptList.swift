// The attempts of one exchange, for the log: which member, how long, how it ended.
//
// Kept inline, because an exchange must not allocate. A redial after a stale connection is an entry
// of its own and doesn't count against max-attempts.

public import Balancing
public import Primitives

public struct Attempt: Sendable {
  public enum Result: Equatable, Sendable {
    case pending
    case succeeded
    case failed(FailureCause)
    case clientAborted
    /// Nobody wanted its answer any more: the request turned out to be refused.
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
  /// Nobody was healthy, and the pool fails open.
  public var isFailOpen = false
  public var startedAt: Instant
  public var duration = TimeSpan.zero
  public var status: UInt16 = 0
  public var result = Result.pending

  public init(backend: Int, isReused: Bool, isFailOpen: Bool = false, startedAt: Instant) {
    self.backend = backend
    self.isReused = isReused
    self.isFailOpen = isFailOpen
    self.startedAt = startedAt
  }
}

public struct AttemptList: Sendable {
  /// The most attempts that are remembered. The limit of max-attempts is the same, so more come
  /// together only behind stale connections; then the newest takes the last place.
  public static let capacity = 8

  private var entries = InlineArray<8, Attempt>(
    repeating: Attempt(backend: -1, isReused: false, startedAt: .origin))
  public private(set) var count = 0
  /// Those that count against max-attempts.
  public private(set) var countedCount = 0

  public init() {}

  public subscript(index: Int) -> Attempt {
    precondition(index < count)
    return entries[index]
  }

  public var last: Attempt? { count == 0 ? nil : entries[count - 1] }

  /// Was the backend of the last attempt already tried over a new connection?
  var lastBackendHadFreshConnection: Bool {
    guard let last else { return false }
    for index in 0..<count where entries[index].backend == last.backend {
      if !entries[index].isReused { return true }
    }
    return false
  }

  mutating func append(_ attempt: Attempt) {
    if count < Self.capacity { count += 1 }
    entries[count - 1] = attempt
    countedCount += 1
  }

  /// Ends the attempt that is under way; one that has ended already keeps its result.
  mutating func endLast(_ result: Attempt.Result, at now: Instant) {
    guard count > 0, entries[count - 1].result == .pending else { return }
    entries[count - 1].result = result
    entries[count - 1].duration = now - entries[count - 1].startedAt
  }

  mutating func noteStatus(_ status: UInt16) {
    guard count > 0 else { return }
    entries[count - 1].status = status
  }

  /// The last attempt met a pooled connection that was closed already, and doesn't count.
  mutating func forgiveLast() { countedCount -= 1 }
}
