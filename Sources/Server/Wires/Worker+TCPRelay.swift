// The bytes of a TCP listener's connection, both ways, and how it ends.
//
// Each side ends by itself: a FIN goes on behind the last byte, and the other direction continues.
// When both have finished, both connections are closed. A reset is passed on as a reset, behind
// what can still be sent. A connection on which nothing moves is reset on both sides.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  /// How long a client may take what waits for it, before its connection is reset.
  private static var resetTime: TimeSpan { .seconds(5) }
  /// The time between two looks at what the client's kernel has acknowledged.
  private static var resetPause: TimeSpan { .milliseconds(20) }
  /// A backend that says nothing has passed its trial when its connection is this old, and takes
  /// bytes.
  private static var trialTime: TimeSpan { .seconds(1) }

  mutating func driveTCP(_ handle: Handle, from source: Handle) {
    let isClient = connections[source].isClient
    guard case .relaying = exchanges[handle].machine.phase else {
      return watchClient(handle, source)
    }
    let hasFinished =
      isClient
      ? exchanges[handle].body.clientHasFinished : exchanges[handle].response.backendHasFinished
    if hasFinished { return watchFinished(handle, source, isClient ? .request : .response) }
    isClient ? moveRequest(handle, from: source) : moveResponse(handle, from: source)
  }

  private mutating func moveRequest(_ handle: Handle, from client: Handle) {
    let stop = pump(handle, .request, from: client)
    let isOnTrial = exchanges[handle].attempt.pick?.isTrial ?? false
    if isOnTrial, let began = exchanges[handle].machine.attempts.last?.startedAt,
      now - began >= Self.trialTime
    {
      observe(handle, failure: nil)
    }
    // The backend may take nothing, so that nothing is received either.
    if case .paused = stop, connections[client].transport.takeReset(&io) {
      return sideFailed(handle, .request)
    }
    follow(stop, handle, .request)
  }

  private mutating func moveResponse(_ handle: Handle, from backend: Handle) {
    let isFirst = exchanges[handle].response.byteCount == 0
    let stop = pump(handle, .response, from: backend)
    if isFirst && exchanges[handle].response.byteCount > 0 { observe(handle, failure: nil) }
    switch stop {
    case .paused where connections[backend].transport.takeReset(&io): awaitLastBytes(handle)
    // An error that was taken, here or by a send, is reported as an end.
    case .finished
    where exchanges[handle].response.backendHasReset || connections[backend].transport.isBroken:
      sideFailed(handle, .response)
    default: follow(stop, handle, .response)
    }
  }

  /// The backend has reset its connection while the client takes nothing. What came before is still
  /// the client's, as long as it takes some of it within the time of a half-closed connection.
  private mutating func awaitLastBytes(_ handle: Handle) {
    exchanges[handle].response.backendHasReset = true
    exchanges[handle].machine.halfClosed(at: now)
    updateDeadline(handle)
  }

  private mutating func follow(_ stop: PumpStop, _ handle: Handle, _ direction: Direction) {
    switch stop {
    case .paused: break
    case .finished, .ended: sideFinished(handle, direction)
    case .failed, .malformed, .interrupted: sideFailed(handle, direction)
    }
  }

  // MARK: Ends

  /// A side sends no more.
  private mutating func sideFinished(_ handle: Handle, _ direction: Direction) {
    switch direction {
    case .request: exchanges[handle].body.clientHasFinished = true
    case .response: exchanges[handle].response.backendHasFinished = true
    }
    exchanges[handle].machine.halfClosed(at: now)
    passEnd(handle, direction)
    updateDeadline(handle)
  }

  /// Lets the FIN follow the last byte. The flush sends it.
  mutating func passEnd(_ handle: Handle, _ direction: Direction) {
    guard let backend = backend(of: handle) else { return }
    let client = exchanges[handle].client.connection
    let (source, target) = direction == .request ? (client, backend) : (backend, client)
    // Without close_notify, anybody may have ended the stream, and the other side must see that.
    if connections[source].transport.isEndAuthentic {
      connections[target].transport.writeCloseNotify(&buffers)
    }
    queueToFlush(target)
  }

  /// The client has taken everything.
  mutating func relayFlushed(_ handle: Handle, to client: Handle) {
    guard exchanges[handle].response.backendHasFinished else { return resumeResponse(handle) }
    io.shutdownSending(connections[client].transport.socket)
    endRelayIfFinished(handle)
  }

  /// Both sides have finished, and each has what the other sent.
  mutating func endRelayIfFinished(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    guard exchanges[handle].response.backendHasFinished,
      exchanges[handle].body.clientHasFinished, let backend = backend(of: handle),
      connections[client].transport.isFlushed, connections[backend].transport.isFlushed
    else { return }
    observeSilence(handle)
    perform(exchanges[handle].machine.handle(.relayEnded, at: now), handle)
  }

  /// A connection that ends well without a byte of the backend is a success too.
  private mutating func observeSilence(_ handle: Handle) {
    if exchanges[handle].response.byteCount == 0 { observe(handle, failure: nil) }
  }

  private mutating func sideFailed(_ handle: Handle, _ direction: Direction) {
    switch direction {
    case .request: clientGone(handle)
    case .response:
      let isEarly = exchanges[handle].response.byteCount == 0
      attemptFailed(handle, isEarly ? .resetBeforeResponse : .relayReset)
    }
  }

  /// Before the backend's connection is there, the client's bytes stay where they are. Only its end
  /// matters.
  private mutating func watchClient(_ handle: Handle, _ client: Handle) {
    guard connections[client].isClient else { return }
    if connections[client].transport.takeReset(&io) { return clientGone(handle) }
    guard
      connections[client].transport.peerFinished || connections[client].transport.isBroken,
      connections[client].transport.inbound.isEmpty, !exchanges[handle].body.clientHasFinished
    else { return }
    switch receive(client) {
    case .bytes, .nothing: break
    case .finished:
      exchanges[handle].body.clientHasFinished = true
      exchanges[handle].machine.halfClosed(at: now)
    case .failed: clientGone(handle)
    }
  }

  /// After its FIN, a side can still reset the connection.
  private mutating func watchFinished(
    _ handle: Handle, _ source: Handle, _ direction: Direction
  ) {
    let arrival = receive(source)
    if case .failed = arrival { return sideFailed(handle, direction) }
    // It takes no more either, so the other side can't go on.
    if connections[source].transport.isBroken || connections[source].transport.takeReset(&io) {
      sideFailed(handle, direction)
    }
  }

  /// Nothing has moved for the idle timeout.
  mutating func relayExpired(_ handle: Handle) {
    if exchanges[handle].response.backendHasReset { return attemptFailed(handle, .relayReset) }
    perform(exchanges[handle].machine.handle(.refused(.relayIdle), at: now), handle)
  }

  // MARK: Actions

  mutating func closeRelay(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    endAttempt(handle, .broken)
    removeTCP(handle)
    close(client)
  }

  mutating func resetRelay(_ handle: Handle) {
    let client = exchanges[handle].client.connection
    let failure = exchanges[handle].machine.failure
    if let backend = backend(of: handle) { connections[backend].transport.flush(&io, &buffers) }
    endAttempt(handle, .reset)
    removeTCP(handle)
    if failure == .clientAborted || lifecycle == .finished {
      connections[client].transport.flush(&io, &buffers)
      return close(client, reset: true)
    }
    connections[client].transport.inbound.removeAll()
    change(client, to: .ending(.resetting(until: now + Self.resetTime)))
    setDeadline(client, now + Self.resetTime)
    queueToFlush(client)
  }

  /// Whether the client must not see an orderly end: a reset waits for it, or it is one of a TCP
  /// listener that no backend has got.
  mutating func mustReset(_ client: Handle) -> Bool {
    switch connections[client].wire {
    case .ending(.resetting): true
    case .opening:
      listeners[connections[client].client.listener].configured.map {
        snapshot.listeners[$0].tcp != nil
      } ?? false
    default: false
    }
  }

  /// A reset discards what the kernel has not delivered, so it waits for that.
  mutating func resetWhenTaken(_ client: Handle, _ until: Instant) {
    let isTaken =
      connections[client].transport.isFlushed
      && io.unacknowledgedByteCount(of: connections[client].transport.socket) <= 0
    if isTaken || now >= until { return close(client, reset: true) }
    setDeadline(client, min(until, now + Self.resetPause))
  }

  private mutating func removeTCP(_ handle: Handle) {
    leaveOthers(handle)
    logTCP(handle)
    if exchanges[handle].head != .none { giveHead(exchanges[handle].head) }
    dropExchange(handle)
  }
}

extension Transport {
  /// Whether the peer has reset the connection. After a FIN, or while nothing is received for want
  /// of room, receiving doesn't find it.
  fileprivate mutating func takeReset<IO: InputOutput & ~Copyable>(_ io: inout IO) -> Bool {
    guard mayBeReset else { return false }
    mayBeReset = false
    return io.connectionResult(of: socket) != nil
  }
}
