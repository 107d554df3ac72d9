// The idle connections to backends of one worker: the most recently used is taken first.

import Primitives

struct UpstreamStock {
  /// By backend id, the most recently used last.
  private var idle: [[Handle]] = []
  /// HTTP/2 connections by backend id, which several exchanges use at once; they are never in
  /// `idle`. Those that are still being dialled are among them.
  private var shared: [[Handle]] = []
  /// Exchanges that wait for a connection which another one dials.
  private var waiters: [Handle: [Handle]] = [:]
  /// How many streams each HTTP/2 backend accepts on a connection, as far as it has said so.
  private var streamMaxima: [Int: Int] = [:]
  /// Backends that have chosen HTTP/1 by ALPN.
  private var http1: Set<Int> = []
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

  /// The connection takes no more requests. Does nothing if it wasn't shared.
  mutating func unshare(_ connection: Handle, of backend: Int) {
    guard backend < shared.count, let place = shared[backend].firstIndex(of: connection) else {
      return
    }
    shared[backend].remove(at: place)
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

  func streamMax(of backend: Int) -> Int? { streamMaxima[backend] }

  mutating func noteStreamMax(_ count: Int?, of backend: Int) { streamMaxima[backend] = count }

  /// Whether the backend has chosen HTTP/1, so that nobody waits for a connection of another.
  func speaksHTTP1(_ backend: Int) -> Bool { http1.contains(backend) }

  mutating func noteProtocol(_ backend: Int, isHTTP2: Bool) {
    if isHTTP2 { http1.remove(backend) } else { http1.insert(backend) }
  }

  /// A connection is kept for one client, outside the lists; or is no longer.
  mutating func reserve() { count += 1 }
  mutating func unreserve() { count -= 1 }
}
