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
  /// Lookups since the start, and failed ones.
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
    /// When the active lookup began.
    var beganAt: Instant?
    /// The last lookup took longer than `Limits.patience`: perhaps no name server answers for the
    /// name.
    var isSlow = false
    /// Named by the configuration that was watched last; others are kept for one that is refused.
    var isWatched = true
  }

  /// How lookups share the threads that they block. A name without a responding name server blocks
  /// one for ten seconds or more at each lookup. So such names have a limited share, and other
  /// names do not wait for them.
  struct Limits {
    /// The maximum number of lookups that have just begun.
    var promptMax = 64
    /// The maximum number of active lookups for names whose last lookup was slow.
    var slowMax = 32
    /// The maximum number of active lookups.
    var totalMax = 256
    /// A lookup that takes longer counts as slow.
    var patience = TimeSpan.seconds(1)
  }

  private let limits: Limits
  private let entries = Mutex<[String: Entry]>([:])

  init(limits: Limits = Limits()) { self.limits = limits }

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

  /// Sets the names to look up from now on: those in `configuration`. A shorter interval applies at
  /// once.
  func watch(_ configuration: Configuration, at now: Instant = SystemClock.monotonic()) {
    var intervals: [String: TimeSpan] = [:]
    for pool in configuration.pools {
      for name in pool.names {
        intervals[name] = min(intervals[name] ?? pool.resolveInterval, pool.resolveInterval)
      }
    }
    entries.withLock { entries in
      entries = entries.filter { $1.isWatched || $1.beganAt != nil || intervals[$0] != nil }
      for name in entries.keys { entries[name]?.isWatched = false }
      for (name, interval) in intervals {
        var entry = entries[name] ?? Entry()
        entry.interval = interval
        entry.isWatched = true
        entry.dueAt = min(entry.dueAt, now + interval)
        entries[name] = entry
      }
    }
  }

  var isEmpty: Bool { entries.withLock { entries in !entries.values.contains(where: \.isWatched) } }

  /// The due names, as many as may be looked up now. They are not due again before `note`.
  func takeDue(at now: Instant) -> [String] {
    entries.withLock { entries in
      var prompt = 0
      var slow = 0
      var due: [(name: String, dueAt: Instant)] = []
      for (name, entry) in entries {
        if let beganAt = entry.beganAt {
          if entry.isSlow || now - beganAt > limits.patience { slow += 1 } else { prompt += 1 }
        } else if entry.isWatched && entry.dueAt <= now {
          due.append((name, entry.dueAt))
        }
      }
      // The name that has waited longest is first.
      due.sort { ($0.dueAt, $0.name) < ($1.dueAt, $1.name) }
      var taken: [String] = []
      for (name, _) in due where prompt + slow < limits.totalMax {
        if entries[name]?.isSlow == true {
          if slow >= limits.slowMax { continue }
          slow += 1
        } else {
          if prompt >= limits.promptMax { continue }
          prompt += 1
        }
        entries[name]?.beganAt = now
        taken.append(name)
      }
      return taken
    }
  }

  /// When `takeDue` may return another name than at `now`, unless a lookup ends earlier; nil for
  /// never.
  func nextDue(after now: Instant) -> Instant? {
    let patience = limits.patience
    return entries.withLock { entries in
      entries.values.lazy.compactMap { entry -> Instant? in
        if let beganAt = entry.beganAt {
          // It no longer counts as one that has just begun.
          return beganAt + patience + .milliseconds(1)
        }
        return entry.isWatched ? entry.dueAt : nil
      }.filter { $0 > now }.min()
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
      entry.isSlow = entry.beganAt.map { now - $0 > limits.patience } ?? false
      entry.beganAt = nil
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
