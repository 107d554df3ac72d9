// Logins: which connections to backends belong to a client's connection.

import Balancing
import Primitives
import Testing

@testable import Server

@Suite struct LoginsTests {
  private let client = Handle(index: 1, generation: 1)
  private let backend = Handle(index: 2, generation: 1)

  private func record() -> BackendRecord {
    BackendRegistry().backend(pool: "app", address: "127.0.0.1:1")
  }

  @Test func aLoginThatEndsIsLostToItsClient() {
    var logins = Logins()
    logins.add(Logins.Login(connection: backend, backend: record()), to: client)
    #expect(logins.of(client).map(\.connection) == [backend] && !logins.hasLost(client))
    logins.remove(backend, of: client)
    #expect(logins.of(client).isEmpty && logins.hasLost(client))
  }

  @Test func nothingIsLeftOfAClientThatHasEnded() {
    var logins = Logins()
    logins.add(Logins.Login(connection: backend, backend: record()), to: client)
    #expect(logins.end(client).map(\.connection) == [backend])
    logins.remove(backend, of: client)
    #expect(logins.isEmpty && !logins.hasLost(client))
  }
}
