// The counters of one worker for one listener, route, pool or backend.
//
// Like WorkerMetrics: one writer, plain loads and stores. A block doesn't store its subject; the
// registry does. All blocks have the same counters, and the exposition writes those that apply to
// the kind of subject.

public import Primitives
public import Synchronization

/// One counter of a `TrafficMetrics`.
public enum TrafficCounter: Int, CaseIterable, Sendable {
  case responses1xx, responses2xx, responses3xx, responses4xx, responses5xx
  /// The client disconnected before the response. It is not a status class, and is counted
  /// separately.
  case aborted
  case receivedBytes, sentBytes
  /// For a listener: connections from clients. For a backend: connections to it.
  case connectionsOpened, connectionsClosed
  case attempts
  /// Connections of a TCP listener that have ended.
  case tcpCompleted, tcpFailed
  /// Connections that a limit of the process, or of their listener, has refused.
  case refusedInAll, refusedByAddress, refusedByListener, refusedByListenerAndAddress
  /// Sessions of a UDP listener that have ended, and their datagrams.
  case udpCompleted, udpFailed
  case udpReceived, udpSent
  case udpDroppedNoBackend, udpDroppedBackendFailed, udpDroppedSessionLimit
  case udpDroppedNoNewSessions, udpDroppedProxyHeader, udpDroppedSendFailed

  /// The counters of a family, with their label values.
  public static let responses: [(TrafficCounter, StaticString)] = [
    (.responses1xx, "1xx"), (.responses2xx, "2xx"), (.responses3xx, "3xx"),
    (.responses4xx, "4xx"), (.responses5xx, "5xx"),
  ]

  /// Connections of TCP listeners, likewise.
  public static let tcp: [(TrafficCounter, StaticString)] = [
    (.tcpCompleted, "ok"), (.tcpFailed, "failed"),
  ]

  /// Refused connections of a listener, by the key of the limit.
  public static let refusals: [(TrafficCounter, StaticString)] = [
    (.refusedInAll, "connections"), (.refusedByAddress, "connections-per-address"),
    (.refusedByListener, "max-connections"),
    (.refusedByListenerAndAddress, "max-connections-per-client"),
  ]

  /// Sessions of UDP listeners, likewise.
  public static let udp: [(TrafficCounter, StaticString)] = [
    (.udpCompleted, "ok"), (.udpFailed, "failed"),
  ]

  /// Datagrams that were dropped, by cause.
  public static let udpDrops: [(TrafficCounter, StaticString)] = [
    (.udpDroppedNoBackend, "no-backend"), (.udpDroppedBackendFailed, "backend-failed"),
    (.udpDroppedSessionLimit, "session-limit"), (.udpDroppedNoNewSessions, "no-new-sessions"),
    (.udpDroppedProxyHeader, "proxy-header"), (.udpDroppedSendFailed, "send-failed"),
  ]

  /// By the class of a status. 499 and statuses outside 100-599 are no responses.
  public init(status: UInt16) {
    self =
      switch status {
      case 100..<200: .responses1xx
      case 200..<300: .responses2xx
      case 300..<400: .responses3xx
      case 499: .aborted
      case 400..<500: .responses4xx
      case 500..<600: .responses5xx
      default: .aborted
      }
  }
}

/// The counters of one worker for one subject. Any thread may read; only the worker writes.
public final class TrafficMetrics: Sendable {
  @usableFromInline let counters = InlineArray<32, Atomic<UInt64>> { _ in Atomic(0) }
  /// Failed attempts, by the index of the cause in its vocabulary.
  private let failures = InlineArray<32, Atomic<UInt64>> { _ in Atomic(0) }
  /// The last failure: its time in milliseconds above its index plus one; 0 if there was none.
  private let failure = Atomic<UInt64>(0)
  /// For a route and a backend: the duration of exchanges.
  public let durations = DurationCounts()
  /// For a pool, whose durations are counted here instead.
  public let fine: FineHistogram?
  /// For a pool: the time of exchanges in the queue.
  public let queue = DurationCounts()
  /// For a backend: the time to a new connection, and to the head of the response.
  public let connect = DurationCounts()
  public let firstByte = DurationCounts()
  /// For a route.
  public let statuses: StatusTable?
  /// Separates these counters from those of the next block, which would share a cache line.
  private let padding = InlineArray<16, UInt64>(repeating: 0)

  init(of subject: MetricsSubject) {
    var isPool = false
    var isRoute = false
    switch subject {
    case .listener, .backend: break
    case .route: isRoute = true
    case .pool: isPool = true
    }
    fine = isPool ? FineHistogram() : nil
    statuses = isRoute ? StatusTable() : nil
  }

  /// Worker only.
  @inlinable @inline(__always)
  public func add(_ counter: TrafficCounter, _ amount: UInt64 = 1) {
    let old = counters[counter.rawValue].load(ordering: .relaxed)
    counters[counter.rawValue].store(old &+ amount, ordering: .relaxed)
  }

  /// A failed attempt. Worker only.
  public func add(failure place: UInt8, at now: Instant) {
    let counter = min(Int(place), Self.failureMax - 1)
    let old = failures[counter].load(ordering: .relaxed)
    failures[counter].store(old &+ 1, ordering: .relaxed)
    let milliseconds = UInt64(max(0, (now - .origin).microseconds)) / 1000
    failure.store(milliseconds << 8 | UInt64(counter + 1), ordering: .relaxed)
  }

  /// The maximum number of causes of failed attempts.
  public static let failureMax = 32

  func failureCount(_ place: Int) -> UInt64 { failures[place].load(ordering: .relaxed) }
  func value(_ counter: TrafficCounter) -> UInt64 {
    counters[counter.rawValue].load(ordering: .relaxed)
  }

  var lastFailure: UInt64 { failure.load(ordering: .relaxed) }
}

/// The sum of one subject's blocks over all workers, at about one moment.
public struct TrafficReading: Sendable {
  private var counters = [UInt64](repeating: 0, count: TrafficCounter.allCases.count)
  public private(set) var durations = DurationCounts.Reading()
  public private(set) var queue = DurationCounts.Reading()
  public private(set) var connect = DurationCounts.Reading()
  public private(set) var firstByte = DurationCounts.Reading()
  public let statuses: StatusTable.Reading
  private var failures = [UInt64](repeating: 0, count: TrafficMetrics.failureMax)
  private var lastFailureCell: UInt64 = 0

  public init(of blocks: [TrafficMetrics]) {
    statuses = StatusTable.Reading(of: blocks.compactMap(\.statuses))
    for block in blocks {
      for counter in TrafficCounter.allCases { counters[counter.rawValue] &+= block.value(counter) }
      durations.add(block.durations)
      queue.add(block.queue)
      connect.add(block.connect)
      firstByte.add(block.firstByte)
      for place in failures.indices { failures[place] &+= block.failureCount(place) }
      lastFailureCell = max(lastFailureCell, block.lastFailure)
    }
  }

  /// Connections open now.
  public var connectionCount: UInt64 {
    let (opened, closed) = (self[.connectionsOpened], self[.connectionsClosed])
    return opened > closed ? opened - closed : 0
  }

  public subscript(counter: TrafficCounter) -> UInt64 { counters[counter.rawValue] }

  /// Connections that a limit has refused.
  public var refusedCount: UInt64 {
    TrafficCounter.refusals.reduce(0) { $0 &+ self[$1.0] }
  }

  /// Failed attempts with this cause.
  public func failureCount(_ word: CounterWord) -> UInt64 { failures[word.place] }

  /// The last failed attempt, by the index of its cause; nil if there was none.
  public var lastFailure: (place: UInt8, at: Instant)? {
    let cell = UInt8(truncatingIfNeeded: lastFailureCell)
    if cell == 0 { return nil }
    return (cell - 1, .origin + .milliseconds(Int64(lastFailureCell >> 8)))
  }

  /// Responses of all classes.
  public var responseCount: UInt64 {
    TrafficCounter.responses.reduce(0) { $0 &+ self[$1.0] }
  }

  public var failureCount: UInt64 { failures.reduce(0, &+) }
}
