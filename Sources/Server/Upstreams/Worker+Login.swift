// Connections to backends over which a client has logged in (Proxy/ConnectionLogin.swift).
//
// Such a connection never becomes part of the common stock. Between two requests it waits for the
// one client's connection to which it belongs, and ends with it. If it ends earlier, the client's
// connection ends too, as soon as no response is in progress: on another one the client would be
// another user without noticing.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// The maximum for one client's connection: one for each pool of a site, and some to spare.
  private static var loginMax: Int { 8 }

  /// The connection over which this client is logged in at the exchange's pool; `.none` for most.
  mutating func login(of client: Handle, for exchange: Handle) -> Handle {
    let pool = exchanges[exchange].pool.pool.record
    for login in logins.of(client)
    where login.backend.pool === pool && connections.contains(login.connection) {
      return login.connection
    }
    return .none
  }

  /// The backend to which the exchange is bound; nil for most.
  mutating func backendOfLogin(_ handle: Handle) -> BackendRecord? {
    let login = exchanges[handle].attempt.login
    guard login != .none, connections.contains(login) else { return nil }
    let client = exchanges[handle].client.connection
    return logins.of(client).first { $0.connection == login }?.backend
  }

  /// A slot of the backend is reserved: sends the request over the client's own connection.
  mutating func continueWithLogin(_ handle: Handle, _ backend: Int) {
    let login = exchanges[handle].attempt.login
    let action = exchanges[handle].machine.handle(
      .attemptStarted(backend: backend, isReused: true, isFailOpen: false), at: now)
    if connections.contains(login), !isQuiet(login, for: handle) { close(login) }
    guard connections.contains(login) else {
      // It ended while the exchange waited for the slot, or the backend sent bytes that would be
      // used as the response.
      attemptFailed(handle, .closedBeforeResponse, blamesBackend: false)
      return
    }
    metrics.add(.upstreamConnectionsReused)
    stock.unreserve()
    lease(login, for: handle)
    perform(action, handle)
  }

  /// Whether the bound connection is still open and has no unread bytes. The check is the same as
  /// in `takeIdle`.
  private mutating func isQuiet(_ login: Handle, for handle: Handle) -> Bool {
    let isDoubtful =
      connections[login].transport.isReadable || !exchanges[handle].machine.isIdempotent
    return !isDoubtful || isQuiet(login)
  }

  /// The head of a response is in `responseHead`: notes what it says about the login.
  mutating func noteLogin(_ handle: Handle) {
    guard let backend = backend(of: handle),
      case .http1Backend(let codec, _) = connections[backend].wire
    else { return }
    if responseHead.asksForConnectionLogin {
      // A client that has sent no credentials has begun no login yet. The streams of HTTP/2 would
      // need the backend's connection at the same time.
      let hasBegun =
        exchanges[handle].client.stream == 0
        && (exchanges[handle].request.logsIn || http1Backends[codec].login == .bound)
      http1Backends[codec].login = hasBegun ? .bound : .attempted
    }
    guard http1Backends[codec].login == .bound else { return }
    let client = exchanges[handle].client.connection
    let isTooMany =
      http1Backends[codec].owner == .none && logins.of(client).count >= Self.loginMax
    // Without its connection the login is lost, and the client must notice.
    if isTooMany || !exchanges[handle].response.backendPersists {
      exchanges[handle].response.persists = false
    }
  }

  /// A response has ended and its connection may be used again, but only by this client.
  mutating func keepLogin(_ connection: Handle, _ codec: Handle, for handle: Handle) {
    let client = exchanges[handle].client.connection
    guard lifecycle == .serving, logins.of(client).count <= Self.loginMax,
      stock.count < settings.idleUpstreamMax
    else {
      // The client's connection ends too, since its login is lost.
      logins.noteLost(by: client)
      return close(connection)
    }
    if http1Backends[codec].owner == .none, let pick = exchanges[handle].attempt.pick?.record {
      http1Backends[codec].owner = client
      logins.add(Logins.Login(connection: connection, backend: pick), to: client)
    }
    connections[connection].wire = .http1Backend(codec: codec, .reserved)
    stock.reserve()
    connections[connection].transport.settle(&buffers)
  }

  /// A connection that belongs to a client's connection has ended.
  mutating func loginEnded(_ connection: Handle, of client: Handle) {
    guard connections.contains(client) else { return }
    logins.remove(connection, of: client)
    // During an exchange, its end closes the client's connection.
    if connections[client].awaitsHead { finishWriting(client, linger: true) }
  }
}
