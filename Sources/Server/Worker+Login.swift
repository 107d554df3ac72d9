// Connections to backends by which a client has logged in (Proxy/ConnectionLogin.swift).
//
// Such a connection never comes into the common stock. Between two requests it waits for the one
// client's connection that it belongs to, and ends with it. When it ends before, the client's
// connection ends as well, as soon as no answer is under way: on another one the client would be
// somebody else without a sign of it.

import Balancing
import HTTP
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// How many a client's connection may have: one for each pool behind one site, and some to spare.
  private static var loginMax: Int { 8 }

  /// The connection by which this client is logged in at the exchange's pool; `.none` for most.
  mutating func login(of downstream: Handle, for exchange: Handle) -> Handle {
    if downstreams[downstream].logins.isEmpty { return .none }
    let pool = exchanges[exchange].pool.pool.record
    return downstreams[downstream].logins.first { login in
      upstreams.contains(login) && upstreams[login].backend.pool === pool
    } ?? .none
  }

  /// The backend that the exchange is bound to; nil for most.
  mutating func backendOfLogin(_ handle: Handle) -> BackendRecord? {
    let login = exchanges[handle].login
    guard login != .none, upstreams.contains(login) else { return nil }
    return upstreams[login].backend
  }

  /// A place at the backend is taken: sends the request over the client's own connection.
  mutating func goOnWithLogin(_ handle: Handle, _ backend: Int) {
    let login = exchanges[handle].login
    exchanges[handle].machine.attemptStarted(backend: backend, isReused: true, at: now)
    if upstreams.contains(login), !isQuiet(login, for: handle) { close(upstream: login) }
    guard upstreams.contains(login) else {
      // It ended while the exchange waited for the slot, or the backend sent bytes that would be
      // used as the response.
      attemptFailed(handle, .closedBeforeResponse, blamesBackend: false)
      return
    }
    metrics.add(.upstreamConnectionsReused)
    exchanges[handle].upstream = login
    idleUpstreamCount -= 1
    upstreams[login].lease(to: handle, rules: exchanges[handle].pool.responses)
    sendRequest(handle)
  }

  /// Whether the bound connection is still open and has no unread bytes. The check is the same as
  /// in `takeIdle`.
  private mutating func isQuiet(_ login: Handle, for handle: Handle) -> Bool {
    let isDoubtful =
      upstreams[login].transport.isReadable || !exchanges[handle].machine.isIdempotent
    return !isDoubtful || io.isQuiet(upstreams[login].transport.socket)
  }

  /// The head of an answer stands in `responseHead`: notes what it says about the login.
  mutating func noteLogin(_ handle: Handle) {
    let upstream = exchanges[handle].upstream
    if responseHead.asksForConnectionLogin {
      // Asked of a client that has sent nothing, it has begun no login yet.
      let hasBegun = exchanges[handle].logsIn || upstreams[upstream].login == .bound
      upstreams[upstream].login = hasBegun ? .bound : .attempted
    }
    guard upstreams[upstream].login == .bound else { return }
    let downstream = exchanges[handle].downstream
    let isOneTooMany =
      upstreams[upstream].owner == .none
      && downstreams[downstream].logins.count >= Self.loginMax
    // Without its connection the login is lost, and the client had better know.
    if isOneTooMany || !exchanges[handle].response.upstreamPersists {
      exchanges[handle].response.persists = false
    }
  }

  /// An answer has ended and its connection may be used again, but by this client alone.
  mutating func keepLogin(_ upstream: Handle, for downstream: Handle) {
    guard stage == .serving, downstreams[downstream].logins.count <= Self.loginMax,
      idleUpstreamCount < settings.idleUpstreamMax
    else {
      // The client's connection ends too, since its login is lost.
      downstreams[downstream].hasLostLogin = true
      return close(upstream: upstream)
    }
    if upstreams[upstream].owner == .none {
      upstreams[upstream].owner = downstream
      downstreams[downstream].logins.append(upstream)
    }
    upstreams[upstream].phase = .reserved
    idleUpstreamCount += 1
    upstreams[upstream].transport.settle(&buffers)
  }

  /// A connection of this client's connection has ended.
  mutating func loginEnded(_ upstream: Handle, of downstream: Handle) {
    guard downstreams.contains(downstream) else { return }
    downstreams[downstream].logins.removeAll { $0 == upstream }
    downstreams[downstream].hasLostLogin = true
    // During an exchange, its end sees to it.
    if case .awaitingHead = downstreams[downstream].phase {
      finishWriting(downstream: downstream, linger: true)
    }
  }
}
