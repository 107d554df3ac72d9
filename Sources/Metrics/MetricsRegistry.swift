// All blocks of counters by whom they are for. A block is kept for as long as the process lives, so
// that counters go on over reloads and never back.
//
// Asked when a snapshot is built and when a worker meets a backend for the first time, never per
// request, so a lock is fine.

import Synchronization

/// Whom traffic is counted for.
public enum MetricsSubject: Hashable, Sendable {
  case listener(String)
  /// Of one listener: routes of several have counters for each.
  case route(String, listener: String)
  case pool(String)
  case backend(pool: String, address: String)
}

public final class MetricsRegistry: Sendable {
  private let workerCount: Int
  private let content = Mutex<[MetricsSubject: [TrafficMetrics]]>([:])

  public init(workerCount: Int) { self.workerCount = workerCount }

  /// The blocks of a subject, one for each worker, made at the first call.
  public func blocks(for subject: MetricsSubject) -> [TrafficMetrics] {
    content.withLock { content in
      if let known = content[subject] { return known }
      let fresh = (0..<workerCount).map { _ in TrafficMetrics(of: subject) }
      content[subject] = fresh
      return fresh
    }
  }

  /// Of every subject that was ever asked for.
  public var all: [MetricsSubject: [TrafficMetrics]] { content.withLock { $0 } }
}
