// Driving, flushing, timing out and closing connections of both sides: which wire or which phase
// has to act. What a wire does is in its own file.

import Balancing
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  mutating func drive(_ handle: Handle) {
    switch connections[handle].wire {
    case .opening(.proxyHeader(let parser, let since)):
      driveProxyHeader(handle, parser, since: since)
    case .opening(.accepting): acceptHandshake(handle)
    case .opening(.unrouted(let scan)): routeConnection(handle, scan)
    case .opening(.dialling(let exchange)): finishDialling(handle, exchange)
    case .http1Client: driveHTTP1Client(handle)
    case .http2Client(let codec): driveHTTP2Client(handle, codec)
    case .http1Backend: driveHTTP1Backend(handle)
    case .http2Backend(let codec): driveHTTP2Backend(handle, codec)
    case .raw(let exchange): driveRelay(exchange, from: handle)
    case .ending(.flushing), .ending(.resetting): break
    case .ending(.lingering(let lingering)): linger(handle, lingering)
    }
    guard connections.contains(handle) else { return }
    if connections[handle].transport.takeGaveWay() { queueToDrive(handle) }
    // A TLS session may have answered by itself, also one with a backend.
    if connections[handle].isClient || connections[handle].transport.isEncrypted,
      !connections[handle].transport.isFlushed
    {
      queueToFlush(handle)
    }
  }

  mutating func receive(_ handle: Handle) -> Transport.Arrival {
    connections[handle].transport.receive(&io, &buffers)
  }

  // MARK: Flushing

  mutating func flush(_ handle: Handle) {
    let wasBlocked = connections[handle].transport.isBlocked
    let sentByteCount = connections[handle].transport.sentByteCount
    connections[handle].transport.flush(&io, &buffers)
    countBytes(handle)
    let hasSent = connections[handle].transport.sentByteCount > sentByteCount
    if connections[handle].isClient {
      clientFlushed(handle, hasSent: hasSent)
    } else {
      backendFlushed(handle, hasSent: hasSent, wasBlocked: wasBlocked)
    }
  }

  private mutating func clientFlushed(_ handle: Handle, hasSent: Bool) {
    if connections[handle].transport.sendFailure != nil {
      if let exchange = exchange(on: handle) {
        clientGone(exchange)
      } else {
        close(handle)
      }
      return
    }
    if case .http2Client(let codec) = connections[handle].wire {
      return http2Flushed(handle, codec, hasSent: hasSent)
    }
    if hasSent { clientTookBytes(handle) }
    watchTaking(handle)
    guard connections[handle].transport.isFlushed else { return }
    switch connections[handle].wire {
    case .http1Client(_, .some(let exchange)): resumeResponse(exchange)
    case .raw(let exchange): relayFlushed(exchange, to: handle)
    case .http1Client:
      // A pipelined request may have waited for room, here or still in the socket.
      if connections[handle].transport.mayHoldMore { queueToDrive(handle) }
    case .ending(.flushing(let thenLinger)):
      thenLinger ? beginLingering(handle) : close(handle)
    case .ending(.resetting(let until)): resetWhenTaken(handle, until)
    case .ending(.lingering), .opening, .http2Client, .http1Backend, .http2Backend:
      break
    }
  }

  private mutating func backendFlushed(_ handle: Handle, hasSent: Bool, wasBlocked: Bool) {
    if case .http2Backend(let codec) = connections[handle].wire {
      return http2BackendFlushed(handle, codec, hasSent: hasSent)
    }
    guard let exchange = exchange(on: handle) else { return }
    if hasSent { exchanges[exchange].machine.progressed(at: now) }
    updateDeadline(exchange)
    if connections[handle].transport.sendFailure != nil {
      // The backend may have responded before it closed the connection; the response counts.
      queueToDrive(handle)
      return
    }
    let isFlushed = connections[handle].transport.isFlushed
    guard isFlushed || wasBlocked else { return }
    switch connections[handle].wire {
    case .http1Backend:
      if !exchanges[exchange].body.isEndGiven { queueSource(exchange, .request) }
    case .raw:
      if exchanges[exchange].body.clientHasFinished && isFlushed {
        io.shutdownSending(connections[handle].transport.socket)
        endRelayIfFinished(exchange)
      } else {
        queueSource(exchange, .request)
      }
    case .opening, .http1Client, .http2Client, .http2Backend, .ending:
      break
    }
  }

  // MARK: Slow clients

  /// A client that takes its response slowly but steadily is not stalled.
  private mutating func clientTookBytes(_ handle: Handle) {
    if let exchange = exchange(on: handle) {
      exchanges[exchange].machine.progressed(at: now)
      updateDeadline(exchange)
    } else if case .ending(.flushing) = connections[handle].wire, settings.minimumRate == nil {
      // With a minimum rate, the time for the rest is fixed.
      setDeadline(handle, now + settings.bodyIdleTimeout)
    }
  }

  /// While a response waits for its client, the client is checked once in each grace time.
  private mutating func watchTaking(_ handle: Handle) {
    guard let rate = settings.minimumRate,
      case .http1Client(_, exchange: .some) = connections[handle].wire
    else { return }
    let isWatched = connections[handle].deadline.instant != .never
    if connections[handle].transport.isBlocked == isWatched { return }
    connections[handle].acknowledgedByteCount = nil
    setDeadline(handle, isWatched ? .never : now + rate.grace)
  }

  /// What the client has taken. Only what its kernel has acknowledged counts: our kernel reports
  /// room only when a third of its buffer is free, and with a large buffer that takes a slow but
  /// honest client longer than any idle timeout.
  mutating func acknowledgedByteCount(of handle: Handle) -> UInt64 {
    let waiting = io.unacknowledgedByteCount(of: connections[handle].transport.socket)
    let sent = connections[handle].transport.sentByteCount
    return sent - min(sent, UInt64(max(0, waiting)))
  }

  /// A response still waits for its client.
  private mutating func checkTaking(_ handle: Handle, _ exchange: Handle) {
    guard let rate = settings.minimumRate, connections[handle].transport.isBlocked else { return }
    let taken = acknowledgedByteCount(of: handle)
    if let before = connections[handle].acknowledgedByteCount,
      taken < before + rate.bytesPerGrace
    {
      metrics.add(.slowResponses)
      let hasAnswered = exchanges[exchange].machine.hasAnswered
      perform(
        exchanges[exchange].machine.handle(
          .refused(hasAnswered ? .clientStalled : .requestTimeout), at: now), exchange)
      return
    }
    // The first check only notes the count. For the idle timeout it counts as progress, which the
    // next one confirms or not.
    exchanges[exchange].machine.progressed(at: now)
    updateDeadline(exchange)
    connections[handle].acknowledgedByteCount = taken
    setDeadline(handle, now + rate.grace)
  }

  // MARK: Deadlines

  mutating func expired(_ handle: Handle) {
    switch connections[handle].wire {
    case .opening(.proxyHeader):
      refuse(handle, .timeout)
    case .opening(.accepting):
      metrics.add(.handshakesTimedOut)
      noteFailedHandshake(handle, nil)
      close(handle)
    case .opening(.unrouted):
      helloExpired(handle)
    case .http1Client(let codec, exchange: nil):
      headExpired(handle, hasBegun: http1Clients[codec].headBeganAt != nil)
    case .http1Client(_, .some(let exchange)):
      checkTaking(handle, exchange)
    case .http2Client(let codec):
      http2Expired(handle, codec)
    case .http2Backend(let codec):
      http2BackendExpired(handle, codec)
    case .http1Backend(_, .idle), .http1Backend(_, .reserved):
      close(handle)
    case .ending(.flushing):
      metrics.add(.slowResponses)
      close(handle, reset: true)
    case .ending(.lingering(let lingering)):
      lingeringExpired(handle, lingering)
    case .ending(.resetting(let until)):
      resetWhenTaken(handle, until)
    case .opening(.dialling), .http1Backend, .raw:
      // The exchange has its own deadline.
      break
    }
  }

  // MARK: Closing

  /// Closes the connection. If a TLS alert must still be sent, closes it after that.
  mutating func close(_ handle: Handle, reset: Bool = false) {
    if connections[handle].isClient {
      closeClient(handle, reset: reset)
    } else {
      closeBackend(handle, reset: reset)
    }
  }

  private mutating func closeClient(_ handle: Handle, reset: Bool) {
    if case .http2Client(let codec) = connections[handle].wire { endStreams(handle, codec) }
    if connections[handle].transport.hasAlert && lifecycle != .finished
      && !connections[handle].isEnding
    {
      return sendAlert(handle)
    }
    countFailedSession(of: handle)
    countBytes(handle)
    connections[handle].deadline.cancel(in: &timers)
    if connections[handle].isAccepting { handshakeEnded() }
    countClosed(client: handle)
    let block = connections[handle].client.block
    if connections[handle].client.protocols.tcp { leaveListener(handle) }
    if connections[handle].client.isProxied { proxiedClients[handle] = nil }
    dropCodec(of: handle)
    connections[handle].transport.release(to: &buffers)
    let socket = connections[handle].transport.socket
    connections.drop(handle)
    io.close(socket, reset: reset)
    admission.leave(block)
    clientCount -= 1
    // Only now, since the end of a login would end the client's connection.
    for login in logins.end(handle) where connections.contains(login.connection) {
      close(login.connection)
    }
    for connection in ownConnections.end(handle) where connections.contains(connection) {
      close(connection)
    }
    metrics.add(.downstreamConnectionsClosed)
    metrics.subtract(.downstreamConnectionsActive)
  }

  private mutating func closeBackend(_ handle: Handle, reset: Bool) {
    switch connections[handle].wire {
    case .http2Backend(let codec):
      failBackendStreams(handle, codec, .closedBeforeResponse)
      // GOAWAY, which says why.
      connections[handle].transport.flush(&io, &buffers)
    case .opening: stock.unshare(handle, of: connections[handle].backend.id)
    case .http1Client, .http2Client, .http1Backend, .raw, .ending: break
    }
    if connections[handle].transport.isEncrypted { endSession(of: handle) }
    let backend = connections[handle].backend.id
    var owner = Handle.none
    if case .http1Backend(let codec, let use) = connections[handle].wire {
      owner = http1Backends[codec].owner
      ownConnections.remove(handle, of: http1Backends[codec].client)
      switch use {
      case .idle:
        stock.remove(handle, of: backend)
        metrics.subtract(.upstreamConnectionsIdle)
      case .reserved: stock.unreserve()
      case .leased: break
      }
    }
    countBytes(handle)
    connections[handle].deadline.cancel(in: &timers)
    dropCodec(of: handle)
    connections[handle].transport.release(to: &buffers)
    let socket = connections[handle].transport.socket
    connections.drop(handle)
    io.close(socket, reset: reset)
    metrics.add(.upstreamConnectionsClosed)
    backends.countClosed(backend)
    if owner != .none { loginEnded(handle, of: owner) }
  }
}
