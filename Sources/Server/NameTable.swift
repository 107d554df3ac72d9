// The addresses of backends that are given by name, and why there are none where there are none.
//
// While a lookup fails, the last addresses stay: a name server that is down must not take the site
// down. Who looks names up, and when, is NameLookups' part; it is told here what is due.

import Configuration
import Primitives
import Reactor
import Synchronization

/// What is known of one name.
struct KnownName: Equatable, Sendable {
  /// As last looked up; empty while it has never been resolved.
  var addresses: [IPAddress] = []
  /// Why the last lookup came to nothing; nil after one that didn't, and before the first answer.
  var failure: String?
  /// Lookups since the start, and those that failed.
  var lookupCount: UInt64 = 0
  var failureCount: UInt64 = 0

  var isAnswered: Bool { !addresses.isEmpty || failure != nil }

  /// For people.
  var reason: String { failure ?? "no answer yet" }
}

/// A backend of which no address is known, so that it is no member of its pool.
struct UnresolvedBackend: Sendable {
  let backend: Configuration.Backend
  let reason: String
}

final class NameTable: Sendable {
  private struct Entry {
    var known = KnownName()
    var interval = TimeSpan.zero
    var dueAt = Instant.origin
    var isUnderWay = false
    /// Named by the configuration that was watched last; others are kept for one that is refused.
    var isWatched = true
  }

  private let entries = Mutex<[String: Entry]>([:])

  /// A name without an address is looked up again so soon, if its interval isn't shorter: its pool
  /// may have nothing else, as after a boot at which the name server came up last.
  static let retryInterval = TimeSpan.seconds(2)

  // MARK: What is known

  subscript(name: String) -> KnownName {
    entries.withLock { $0[name]?.known ?? KnownName() }
  }

  /// The socket addresses of a backend; none while its name has never been resolved.
  func addresses(of endpoint: Configuration.Endpoint) -> [SocketAddress] {
    switch endpoint {
    case .address(let address): [address]
    case .name(let name, let port): self[name].addresses.map { .ip($0, port: port) }
    }
  }

  /// The backends of `pool` that have no address.
  func unresolved(in pool: Configuration.Pool) -> [UnresolvedBackend] {
    pool.backends.compactMap { backend in
      guard case .name(let name, _) = backend.endpoint else { return nil }
      let known = self[name]
      return known.addresses.isEmpty
        ? UnresolvedBackend(backend: backend, reason: known.reason) : nil
    }
  }

  /// Names that are watched and of which nothing has been heard, in order.
  var unanswered: [String] {
    entries.withLock { entries in
      entries.filter { $1.isWatched && !$1.known.isAnswered }.keys.sorted()
    }
  }

  /// Everything that was resolved, for a process that takes over.
  var handover: [(name: String, addresses: [IPAddress])] {
    entries.withLock { entries in
      entries.filter { $1.isWatched && !$1.known.addresses.isEmpty }
        .map { (name: $0, addresses: $1.known.addresses) }.sorted { $0.name < $1.name }
    }
  }

  /// Begins with what another process has found. It is due to be looked up all the same.
  func restore(_ name: String, _ addresses: [IPAddress]) {
    entries.withLock {
      $0[name] = Entry(known: KnownName(addresses: addresses), isWatched: false)
    }
  }

  // MARK: What is looked up

  /// Makes the names in `configuration` the ones to be looked up from now on.
  func watch(_ configuration: Configuration) {
    var intervals: [String: TimeSpan] = [:]
    for pool in configuration.pools {
      for name in pool.names {
        intervals[name] = min(intervals[name] ?? pool.resolveInterval, pool.resolveInterval)
      }
    }
    entries.withLock { entries in
      entries = entries.filter { $1.isWatched || $1.isUnderWay || intervals[$0] != nil }
      for name in entries.keys { entries[name]?.isWatched = false }
      for (name, interval) in intervals {
        entries[name, default: Entry()].interval = interval
        entries[name]?.isWatched = true
      }
    }
  }

  var isEmpty: Bool { entries.withLock { entries in !entries.values.contains(where: \.isWatched) } }

  /// A name whose time has come; it isn't due again before `note`.
  func takeDue(at now: Instant) -> String? {
    entries.withLock { entries in
      // Who has waited longest, so that those which fail again and again keep nobody waiting.
      var first: (name: String, dueAt: Instant)?
      for (name, entry) in entries
      where entry.isWatched && !entry.isUnderWay && entry.dueAt <= now {
        if first.map({ entry.dueAt < $0.dueAt }) ?? true { first = (name, entry.dueAt) }
      }
      guard let name = first?.name else { return nil }
      entries[name]?.isUnderWay = true
      return name
    }
  }

  /// When the next name is due; nil when none is.
  var nextDue: Instant? {
    entries.withLock { entries in
      entries.values.lazy.filter { $0.isWatched && !$0.isUnderWay }.map(\.dueAt).min()
    }
  }

  /// What is news about a lookup.
  struct News: Equatable {
    /// The addresses are others than before.
    var hasChanged = false
    /// It has begun to fail, or fails for another reason.
    var hasFailed = false
    /// It had failed, and doesn't any more.
    var hasRecovered = false
  }

  /// Notes what a lookup brought.
  func note(_ name: String, _ result: Result<[IPAddress], ResolverError>, at now: Instant) -> News {
    entries.withLock { entries in
      var entry = entries[name] ?? Entry()
      entry.isUnderWay = false
      let before = entry.known
      entry.known.lookupCount &+= 1
      switch result {
      case .success(let found):
        // Sorted, because servers rotate the order, which means nothing here.
        entry.known.addresses = found.sorted { "\($0)" < "\($1)" }
        entry.known.failure = nil
      case .failure(let error):
        entry.known.failure = error.reason
        entry.known.failureCount &+= 1
      }
      let isMissing = entry.known.addresses.isEmpty
      entry.dueAt =
        now + (isMissing ? min(entry.interval, Self.retryInterval) : entry.interval)
      entries[name] = entry
      return News(
        hasChanged: entry.known.addresses != before.addresses,
        hasFailed: entry.known.failure != nil && entry.known.failure != before.failure,
        hasRecovered: entry.known.failure == nil && before.failure != nil)
    }
  }
}

extension Configuration.Pool {
  /// The names among its backends.
  var names: Set<String> {
    var names: Set<String> = []
    for case .name(let name, _) in backends.map(\.endpoint) { names.insert(name) }
    return names
  }
}
