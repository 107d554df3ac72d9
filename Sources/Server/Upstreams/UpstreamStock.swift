// The idle connections to backends of one worker: the most recently used is taken first.

import Primitives

struct UpstreamStock {
  /// By backend id, the most recently used last.
  private var idle: [[Handle]] = []
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

  /// A connection is kept for one client, outside the lists; or is no longer.
  mutating func reserve() { count += 1 }
  mutating func unreserve() { count -= 1 }
}
