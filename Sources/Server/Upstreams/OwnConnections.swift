// The idle connections to backends that began with the header of one client's connection, or come
// from its address. Only requests of that connection may take them, since backends take all
// requests for that client's.

import Primitives

struct OwnConnections {
  private struct Entry {
    let connection: Handle
    let backend: Int
  }

  /// By the client's connection, the most recently used last.
  private var entries: [Handle: [Entry]] = [:]

  /// The names of clients' connections that backends were told.
  private var ids: [Handle: [UInt8]] = [:]

  /// The maximum for one client's connection.
  static let idleMax = 8

  func count(of client: Handle) -> Int { entries[client]?.count ?? 0 }

  mutating func push(_ connection: Handle, to backend: Int, of client: Handle) {
    entries[client, default: []].append(Entry(connection: connection, backend: backend))
  }

  mutating func pop(_ backend: Int, of client: Handle) -> Handle? {
    guard let place = entries[client]?.lastIndex(where: { $0.backend == backend }) else {
      return nil
    }
    let connection = entries[client]?.remove(at: place).connection
    if count(of: client) == 0 { entries[client] = nil }
    return connection
  }

  /// Removes a connection that ends.
  mutating func remove(_ connection: Handle, of client: Handle) {
    if entries.isEmpty { return }
    entries[client]?.removeAll { $0.connection == connection }
    if count(of: client) == 0 { entries[client] = nil }
  }

  /// The name of the client's connection, if backends were told one.
  func id(of client: Handle) -> [UInt8]? { ids[client] }

  mutating func name(_ client: Handle, _ id: [UInt8]) { ids[client] = id }

  /// The client's connection has ended; returns what belonged to it.
  mutating func end(_ client: Handle) -> [Handle] {
    if !ids.isEmpty { ids[client] = nil }
    return entries.isEmpty ? [] : entries.removeValue(forKey: client)?.map(\.connection) ?? []
  }
}
