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
  /// Listeners, routes and pools that were removed and whose counters are kept, so that they go on
  /// if a later reload adds the subject again. The oldest are forgotten first.
  public static let formerMax = 1024

  private struct Content {
    var blocks: [MetricsSubject: [TrafficMetrics]] = [:]
    /// Those of `blocks` that are not configured any more, the oldest first.
    var former: [MetricsSubject] = []
  }

  /// Calls of gRPC, whatever their listener, route or pool.
  public let calls = CallRegistry()
  private let workerCount: Int
  private let formerMax: Int
  private let content = Mutex(Content())

  public init(workerCount: Int, formerMax: Int = MetricsRegistry.formerMax) {
    self.workerCount = workerCount
    self.formerMax = formerMax
  }

  /// The blocks of a subject, one per worker, created at the first call.
  public func blocks(for subject: MetricsSubject) -> [TrafficMetrics] {
    content.withLock { content in
      if let known = content.blocks[subject] { return known }
      let fresh = (0..<workerCount).map { _ in TrafficMetrics(of: subject) }
      content.blocks[subject] = fresh
      return fresh
    }
  }

  /// Forgets the backends that are not in `current`. If they come back, their counters begin at 0.
  /// A worker may have made blocks for a backend after it was forgotten, so all are compared.
  public func keep(backends current: Set<MetricsSubject>) {
    content.withLock { content in
      content.blocks = content.blocks.filter { subject, _ in
        guard case .backend = subject else { return true }
        return current.contains(subject)
      }
    }
  }

  /// Forgets listeners, routes and pools that are not in `current`, except the last `formerMax`
  /// that were removed. Backends are forgotten in another way.
  public func keep(_ current: Set<MetricsSubject>) {
    content.withLock { content in
      content.former.removeAll { current.contains($0) }
      let known = Set(content.former)
      for subject in content.blocks.keys {
        if case .backend = subject { continue }
        if !current.contains(subject) && !known.contains(subject) { content.former.append(subject) }
      }
      let excess = max(0, content.former.count - formerMax)
      for subject in content.former.prefix(excess) { content.blocks[subject] = nil }
      content.former.removeFirst(excess)
    }
  }

  /// The blocks of all known subjects.
  public var all: [MetricsSubject: [TrafficMetrics]] { content.withLock { $0.blocks } }
}
