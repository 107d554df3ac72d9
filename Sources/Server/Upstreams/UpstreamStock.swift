// The connections to backends of one worker that may take a request: idle ones, of which the most
// recently used is taken first, and shared ones of HTTP/2. Also what backends want of HTTP/2.

import Primitives

struct UpstreamStock {
  /// By backend id, the most recently used last.
  private var idle: [[Handle]] = []
  /// HTTP/2 connections by backend id, which several exchanges use at once; they are never in
  /// `idle`. Those that are still being dialled are among them.
  private var shared: [[Handle]] = []
  /// Exchanges that wait for a connection which another one dials.
  private var waiters: [Handle: [Handle]] = [:]
  /// What backends said about HTTP/2, by id; few have said anything.
  private var manners: [Int: Manners] = [:]
  /// How many streams each HTTP/2 backend accepts on a connection, as far as it has said so.
  private var streamMaxima: [Int: Int] = [:]
  /// Idle connections in all, and those reserved for one client each.
  private(set) var count = 0

  /// Idle connections to this backend.
  func count(of backend: Int) -> Int { backend < idle.count ? idle[backend].count : 0 }

  /// Ids for which there is room.
  var slotCount: Int { idle.count }

  func connections(to backend: Int) -> [Handle] { backend < idle.count ? idle[backend] : [] }

  mutating func push(_ connection: Handle, to backend: Int) {
    while idle.count <= backend { idle.append([]) }
    idle[backend].append(connection)
    count += 1
  }

  mutating func pop(_ backend: Int) -> Handle? {
    guard backend < idle.count, let handle = idle[backend].popLast() else { return nil }
    count -= 1
    return handle
  }

  /// Removes a connection that is closed while it is idle.
  mutating func remove(_ connection: Handle, of backend: Int) {
    guard backend < idle.count, let place = idle[backend].lastIndex(of: connection) else { return }
    idle[backend].remove(at: place)
    count -= 1
  }

  // MARK: HTTP/2

  func shared(by backend: Int) -> [Handle] { backend < shared.count ? shared[backend] : [] }

  mutating func share(_ connection: Handle, with backend: Int) {
    while shared.count <= backend { shared.append([]) }
    shared[backend].append(connection)
  }

  /// The connection takes no more requests. False if it wasn't shared.
  @discardableResult
  mutating func unshare(_ connection: Handle, of backend: Int) -> Bool {
    guard backend < shared.count, let place = shared[backend].firstIndex(of: connection) else {
      return false
    }
    shared[backend].remove(at: place)
    return true
  }

  func waiterCount(_ connection: Handle) -> Int { waiters[connection]?.count ?? 0 }

  mutating func wait(_ exchange: Handle, for connection: Handle) {
    waiters[connection, default: []].append(exchange)
  }

  mutating func removeWaiter(_ exchange: Handle, of connection: Handle) {
    waiters[connection]?.removeAll { $0 == exchange }
    if waiterCount(connection) == 0 { waiters[connection] = nil }
  }

  mutating func popWaiter(_ connection: Handle) -> Handle? {
    guard let first = waiters[connection]?.first else { return nil }
    removeWaiter(first, of: connection)
    return first
  }

  /// The connection is there, or has failed; returns who waited for it.
  mutating func takeWaiters(_ connection: Handle) -> [Handle] {
    waiters.removeValue(forKey: connection) ?? []
  }

  /// How many streams the backend accepts on a connection; nil if it has not said so.
  func acceptedStreamMax(of backend: Int) -> Int? { streamMaxima[backend] }

  mutating func noteAcceptedStreamMax(_ count: Int?, of backend: Int) {
    streamMaxima[backend] = count
  }

  // MARK: What backends want

  /// Of one backend.
  private struct Manners {
    /// It has chosen HTTP/1 by ALPN.
    var choosesHTTP1 = false
    /// Until when it gets only HTTP/1.
    var http1Until = Instant.origin
    /// Until when it gets less, and how many streams a connection has until then.
    var calmUntil = Instant.origin
    var streamMax = Int.max
  }

  /// How long a backend gets only HTTP/1 that requires it (RFC 9113 7: HTTP_1_1_REQUIRED).
  static var http1Time: TimeSpan { .seconds(600) }
  /// How long a backend gets less that asks for calm (RFC 9113 7: ENHANCE_YOUR_CALM).
  static var calmTime: TimeSpan { .seconds(10) }
  /// So many streams a connection keeps even then.
  private static var calmStreamMin: Int { 10 }

  /// Whether the backend has chosen HTTP/1, so that nobody waits for a connection of another.
  func speaksHTTP1(_ backend: Int) -> Bool {
    manners.isEmpty ? false : manners[backend]?.choosesHTTP1 ?? false
  }

  mutating func noteProtocol(_ backend: Int, isHTTP2: Bool) {
    if isHTTP2 != speaksHTTP1(backend) { return }
    manners[backend, default: Manners()].choosesHTTP1 = !isHTTP2
  }

  func requiresHTTP1(_ backend: Int, at now: Instant) -> Bool {
    manners.isEmpty ? false : now < manners[backend]?.http1Until ?? .origin
  }

  mutating func requireHTTP1(_ backend: Int, at now: Instant) {
    manners[backend, default: Manners()].http1Until = now + Self.http1Time
  }

  /// The backend has ended a connection with this many streams, and asks for calm.
  mutating func calm(_ backend: Int, streamCount: Int, at now: Instant) {
    manners[backend, default: Manners()].calmUntil = now + Self.calmTime
    manners[backend]?.streamMax = max(Self.calmStreamMin, streamCount / 2)
  }

  func isCalm(_ backend: Int, at now: Instant) -> Bool {
    manners.isEmpty ? false : now < manners[backend]?.calmUntil ?? .origin
  }

  /// How many streams a connection to the backend may have.
  func streamMax(_ backend: Int, at now: Instant) -> Int {
    isCalm(backend, at: now) ? manners[backend]?.streamMax ?? .max : .max
  }

  /// Another backend may get this id.
  mutating func forget(_ backend: Int) {
    manners[backend] = nil
    streamMaxima[backend] = nil
  }

  /// A connection is kept for one client, outside the lists; or is no longer.
  mutating func reserve() { count += 1 }
  mutating func unreserve() { count -= 1 }
}
