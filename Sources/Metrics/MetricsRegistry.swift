// All blocks of counters, by subject. A block is kept over reloads while its subject exists, so
// that its counters never decrease.
//
// Used when a snapshot is built, and when a worker uses a backend for the first time, but not per
// request; so a lock is acceptable.

import Synchronization

/// What traffic is counted for.
public enum MetricsSubject: Hashable, Sendable {
  case listener(String)
  /// A route that several listeners use has counters per listener.
  case route(String, listener: String)
  case pool(String)
  case backend(pool: String, address: String)
}

public final class MetricsRegistry: Sendable {
  private let workerCount: Int
  private let content = Mutex<[MetricsSubject: [TrafficMetrics]]>([:])

  public init(workerCount: Int) { self.workerCount = workerCount }

  /// The blocks of a subject, one per worker, created at the first call.
  public func blocks(for subject: MetricsSubject) -> [TrafficMetrics] {
    content.withLock { content in
      if let known = content[subject] { return known }
      let fresh = (0..<workerCount).map { _ in TrafficMetrics(of: subject) }
      content[subject] = fresh
      return fresh
    }
  }

  /// Forgets these subjects. If they come back, their counters begin at 0.
  public func forget(_ subjects: [MetricsSubject]) {
    content.withLock { content in
      for subject in subjects { content[subject] = nil }
    }
  }

  /// Forgets listeners, routes and pools that are not in `current`. Backends are forgotten in
  /// another way.
  public func keep(_ current: Set<MetricsSubject>) {
    content.withLock { content in
      content = content.filter { subject, _ in
        if case .backend = subject { return true }
        return current.contains(subject)
      }
    }
  }

  /// The blocks of all known subjects.
  public var all: [MetricsSubject: [TrafficMetrics]] { content.withLock { $0 } }
}
