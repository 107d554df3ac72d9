// Which connections to backends belong to one client's connection, because the client has logged in
// over them (Proxy/ConnectionLogin.swift). Nearly no site has any.

import Balancing
import Primitives

struct Logins {
  struct Login {
    let connection: Handle
    let backend: BackendRecord
  }

  private struct Entry {
    var logins: [Login] = []
    /// One of them ended. Then the client's connection must end too, or the client would continue
    /// as another user.
    var hasLost = false
  }

  private var entries: [Handle: Entry] = [:]

  var isEmpty: Bool { entries.isEmpty }
  var count: Int { entries.count }

  func of(_ client: Handle) -> [Login] {
    entries.isEmpty ? [] : entries[client]?.logins ?? []
  }

  func hasLost(_ client: Handle) -> Bool {
    entries.isEmpty ? false : entries[client]?.hasLost ?? false
  }

  mutating func add(_ login: Login, to client: Handle) {
    entries[client, default: Entry()].logins.append(login)
  }

  mutating func noteLost(by client: Handle) { entries[client, default: Entry()].hasLost = true }

  mutating func remove(_ connection: Handle, of client: Handle) {
    if entries[client] == nil { return }
    entries[client]?.logins.removeAll { $0.connection == connection }
    noteLost(by: client)
  }

  /// The client's connection has ended; returns what belonged to it.
  mutating func end(_ client: Handle) -> [Login] {
    entries.isEmpty ? [] : entries.removeValue(forKey: client)?.logins ?? []
  }
}
