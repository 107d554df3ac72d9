// HTTP/2 connections to backends: which requests share one, and what each event means for its
// exchange.
//
// A lease is a stream here, with number 0 while the connection is being dialled. A connection is
// shared while it takes more streams, and ends with its last one after that (see
// Worker+HTTP2BackendEnding). If the backend closes behind complete responses, the connection is
// kept until the clients have them.

import Balancing
import HTTP
import HTTP1
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Exchanges that wait for one connection that is being dialled.
  private static var waiterMax: Int { 100 }

  // MARK: Sharing

  /// Begins the attempt on a connection that others use or dial too. False if there is none, and
  /// the exchange has to dial.
  mutating func shareConnection(_ handle: Handle, _ backend: Int, isFailOpen: Bool) -> Bool {
    if exchanges[handle].pool.protocol == .tcp {
      dialTCP(handle, backend, isFailOpen: isFailOpen)
      return true
    }
    if stock.requiresHTTP1(backend, at: now) { return false }
    let tunnels = asksForTunnel(handle)
    let isAuto = exchanges[handle].pool.protocol == .auto
    for connection in stock.shared(by: backend) {
      switch connections[connection].wire {
      case .http2Backend(let codec):
        // With `auto`, there is HTTP/1.1 for what the backend doesn't offer, or not yet.
        if tunnels && isAuto && !http2Sessions[codec].connection.offersExtendedConnect { continue }
        guard hasFreeStream(codec, of: backend), mayBegin(handle, on: connection, codec)
        else { continue }
        if tunnels && !http2Sessions[codec].connection.knowsPeer {
          if stock.waiterCount(connection) >= Self.waiterMax { continue }
          awaitConnection(handle, connection, backend, isFailOpen: isFailOpen)
          return true
        }
        metrics.add(.upstreamConnectionsReused)
        lease(connection, for: handle)
        let start = Exchange.Event.attemptStarted(
          backend: backend, isReused: true, isFailOpen: isFailOpen)
        perform(exchanges[handle].machine.handle(start, at: now), handle)
        return true
      case .opening(.dialling)
      where stock.waiterCount(connection) + 1 < waiterMax(of: backend)
        && !(tunnels && isAuto):
        awaitConnection(handle, connection, backend, isFailOpen: isFailOpen)
        return true
      default:
        continue
      }
    }
    return false
  }

  /// Begins the attempt on a connection that will be there, or whose settings will.
  private mutating func awaitConnection(
    _ handle: Handle, _ connection: Handle, _ backend: Int, isFailOpen: Bool
  ) {
    stock.wait(handle, for: connection)
    lease(connection, for: handle)
    let start = Exchange.Event.attemptStarted(
      backend: backend, isReused: false, isFailOpen: isFailOpen)
    perform(exchanges[handle].machine.handle(start, at: now), handle)
  }

  private mutating func hasFreeStream(_ codec: Handle, of backend: Int) -> Bool {
    http2Sessions[codec].connection.freeStreamCount > 0
      && http2Sessions[codec].connection.streamCount < stock.streamMax(backend, at: now)
  }

  /// While a backend asks for calm and its connections have no stream free, another backend is
  /// better, if there is one. Clients that stick to it stay. A later tier is no substitute.
  mutating func calmer(_ handle: Handle, than pick: consuming Pick) -> Pick {
    let backend = pick.record.id
    guard stock.isCalm(backend, at: now), exchanges[handle].attempt.login == .none,
      exchanges[handle].selection.stickyToken == 0,
      !stock.shared(by: backend).contains(where: { takesStream($0, of: backend) })
    else { return pick }
    do throws(Unavailability) {
      let other = try select(handle)
      if other.member.tier > pick.member.tier {
        other.release()
        return pick
      }
      pick.release()
      passTurn(in: exchanges[handle].pool.pool.record)
      return other
    } catch {
      return pick
    }
  }

  private mutating func takesStream(_ connection: Handle, of backend: Int) -> Bool {
    guard case .http2Backend(let codec) = connections[connection].wire else { return true }
    return hasFreeStream(codec, of: backend)
  }

  /// How many requests may share a connection that is being dialled: as many as the backend
  /// accepted on the last one. It would refuse the others.
  private mutating func waiterMax(of backend: Int) -> Int {
    min(stock.acceptedStreamMax(of: backend) ?? Self.waiterMax, Self.waiterMax)
  }

  /// Whether the connection seems to be open. A request that can't be sent twice must not meet an
  /// idle connection that the backend is just closing.
  private mutating func mayBegin(_ handle: Handle, on connection: Handle, _ codec: Handle) -> Bool {
    if connections[connection].transport.peerFinished { return false }
    if exchanges[handle].machine.isIdempotent { return true }
    return http2Sessions[codec].connection.streamCount > 0
      || io.isQuiet(connections[connection].transport.socket)
  }

  /// An exchange no longer waits for a connection, and others still do.
  mutating func leaveDial(_ handle: Handle, _ connection: Handle, _ dialler: Handle) {
    if handle != dialler { return stock.removeWaiter(handle, of: connection) }
    while let next = stock.popWaiter(connection) {
      guard exchanges.contains(next) else { continue }
      connections[connection].wire = .opening(.dialling(exchange: next))
      return
    }
    close(connection)
  }

  /// Connecting takes too long: nobody else should begin to wait for it.
  mutating func leaveSlowDial(_ handle: Handle) {
    guard let connection = backend(of: handle) else { return }
    stock.unshare(connection, of: connections[connection].backend.id)
  }

  /// Connecting has failed, for all that waited for it. It is one failure of the backend.
  mutating func dialFailed(_ connection: Handle, _ dialler: Handle, _ cause: FailureCause) {
    let waiting = releaseWaiters(connection)
    stock.unshare(connection, of: connections[connection].backend.id)
    attemptFailed(dialler, cause)
    for handle in waiting where exchanges.contains(handle) {
      attemptFailed(handle, cause, blamesBackend: false)
    }
  }

  /// Ends the leases of those that wait for the connection, and returns who they are.
  mutating func releaseWaiters(_ connection: Handle) -> [Handle] {
    var released: [Handle] = []
    for handle in stock.takeWaiters(connection)
    where exchanges.contains(handle) && backend(of: handle) == connection {
      _ = exchanges[handle].attempt.takeLease()?.end()
      released.append(handle)
    }
    return released
  }

  /// The backend has chosen HTTP/1: those that wait need connections of their own.
  mutating func dialAgain(_ connection: Handle) {
    let backend = connections[connection].backend.id
    stock.noteProtocol(backend, isHTTP2: false)
    stock.unshare(connection, of: backend)
    for handle in releaseWaiters(connection) { dial(handle) }
  }

  // MARK: Beginning

  /// The connection is there.
  mutating func beginHTTP2Backend(_ handle: Handle, _ dialler: Handle) {
    let backend = connections[handle].backend.id
    stock.noteProtocol(backend, isHTTP2: true)
    // A dial that took long, or whose protocol was unknown, was not shared.
    stock.unshare(handle, of: backend)
    if !isOutdated(dialler) { stock.share(handle, with: backend) }
    let codec = http2Sessions.insert(
      HTTP2Session(
        HTTP2Connection(role: .client, limits: settings.http2Backends, at: now), at: now))
    change(handle, to: .http2Backend(codec: codec))
    frames.removeAll()
    http2Sessions[codec].connection.start(at: now, into: &frames)
    writeFrames(to: handle)
    let waiting = stock.takeWaiters(handle)
    noteConnected(dialler, handle, codec)
    for waiter in waiting { noteConnected(waiter, handle, codec) }
    guard connections.contains(handle) else { return }
    // The backend may have sent its SETTINGS as soon as it accepted the connection.
    if connections[handle].transport.mayHoldMore { queueToDrive(handle) }
    settleHTTP2Backend(handle, codec)
  }

  /// The connection can carry the exchange. A tunnel waits until the backend has said that it takes
  /// one.
  private mutating func noteConnected(_ exchange: Handle, _ handle: Handle, _ codec: Handle) {
    guard exchanges.contains(exchange), backend(of: exchange) == handle else { return }
    if asksForTunnel(exchange) && !http2Sessions[codec].connection.knowsPeer {
      return stock.wait(exchange, for: handle)
    }
    perform(exchanges[exchange].machine.handle(.connected, at: now), exchange)
  }

  /// Begins the stream with the kept head; false when the attempt has failed.
  mutating func openBackendStream(_ exchange: Handle, on handle: Handle, _ codec: Handle) -> Bool {
    let tunnel = asksForTunnel(exchange) ? exchanges[exchange].request.upgrade : .empty
    if !tunnel.isEmpty && !http2Sessions[codec].connection.offersExtendedConnect {
      attemptFailed(exchange, .noExtendedConnect)
      return false
    }
    let before =
      connections[handle].transport.sentByteCount
      + UInt64(connections[handle].transport.unsentByteCount)
    frames.removeAll()
    let outcome = http2Sessions[codec].connection.open(
      heads[exchanges[exchange].head],
      scheme: connections[handle].transport.isEncrypted ? .https : .http,
      body: tunnel.isEmpty ? exchanges[exchange].body.length : .streamed, owner: exchange.packed,
      acceptsTrailers: exchanges[exchange].request.acceptsTrailers, tunnel: tunnel,
      workspace: &http2, into: &frames)
    writeFrames(to: handle)
    switch outcome {
    case .opened(let stream):
      exchanges[exchange].attempt.open(stream, sentBefore: before)
      exchanges[exchange].machine.noteVersion(.http2)
      setHTTP2BackendDeadline(handle, codec)
      return true
    case .full:
      // Without a stream, it takes none at all, and another connection wouldn't either.
      if http2Sessions[codec].connection.streamCount == 0 {
        exchanges[exchange].attempt.unprocessedCount = RetryPolicy.unprocessedMax
      }
      attemptFailed(exchange, .notProcessed)
    case .refused(let error):
      responseRefused(exchange, reason: error.name, blamesBackend: false)
    }
    return false
  }

  // MARK: Receiving

  mutating func driveHTTP2Backend(_ handle: Handle, _ codec: Handle) {
    driveQueuedResponses(codec)
    if !http2Sessions[codec].hasEnded {
      guard receiveBackendFrames(handle, codec) else { return }
      sendTurns(handle, codec)
    }
    if connections.contains(handle) { settleHTTP2Backend(handle, codec) }
  }

  private mutating func receiveBackendFrames(_ handle: Handle, _ codec: Handle) -> Bool {
    var hasReceived = false
    for _ in 0..<Self.framesPerDrive {
      let step = nextStep(handle, codec)
      if step.event == .needsInput {
        connections[handle].transport.inbound.consume(step.consumed)
        if hasReceived && connections[handle].transport.mayHoldMore {
          queueToDrive(handle)
          return true
        }
        switch receive(handle) {
        case .bytes: hasReceived = true
        case .nothing:
          connections[handle].transport.settle(&buffers)
          return true
        case .finished:
          endBackend(handle, codec, .closedBeforeResponse)
          return false
        case .failed:
          endBackend(handle, codec, death(of: handle))
          return false
        }
        continue
      }
      if case .broken(let error) = step.event {
        backendBroken(handle, codec, error)
        return false
      }
      handleBackendEvent(step.event, handle, codec)
      guard connections.contains(handle) else { return false }
      connections[handle].transport.inbound.consume(step.consumed)
    }
    queueToDrive(handle)
    return true
  }

  private mutating func handleBackendEvent(
    _ event: HTTP2Event, _ handle: Handle, _ codec: Handle
  ) {
    switch event {
    case .response(let stream, let body, let ends):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else { return }
      swap(&responseHead, &http2.response)
      responseHead.version = .http2
      if ends { exchanges[exchange].response.arrived.hasEnded = true }
      takeBackendHead(exchange, body)
    case .piece(let stream, let place, let ends):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else { return }
      exchanges[exchange].response.arrived.append(
        connections[handle].transport.inbound, place, &buffers)
      if ends { exchanges[exchange].response.arrived.hasEnded = true }
      driveHTTP2Response(exchange)
    case .end(let stream):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else { return }
      exchanges[exchange].response.arrived.hasEnded = true
      driveHTTP2Response(exchange)
    case .trailers(let stream):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else { return }
      var trailers = FieldBlock()
      swap(&trailers, &http2.trailers)
      takeBackendTrailers(exchange, consume trailers)
    case .reset(let stream, let code, let isUnprocessed):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        return releaseHTTP2Stream(StreamID(connection: handle, stream: stream), codec)
      }
      let wantsHTTP1 = code == .http11Required || http2Sessions[codec].wantsHTTP1
      backendReset(exchange, code, isUnprocessed: isUnprocessed, wantsHTTP1: wantsHTTP1)
    case .failed(let stream, let error):
      countHTTP2(ofBackend: error)
      countReset(handle, codec)
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        return releaseHTTP2Stream(StreamID(connection: handle, stream: stream), codec)
      }
      responseRefused(
        exchange, reason: error.name,
        blamesBackend: !error.isAboutFields || isFaultLasting(exchange))
    case .goAway(_, let code):
      backendLeaves(handle, codec, code)
    case .settingsChanged:
      // Without TLS, nothing has shown before that the backend speaks HTTP/2.
      backends.noteSpoken(.http2, by: connections[handle].backend.id)
      stock.noteAcceptedStreamMax(
        http2Sessions[codec].connection.openStreamMax, of: connections[handle].backend.id)
      for exchange in stock.takeWaiters(handle) { noteConnected(exchange, handle, codec) }
    case .needsInput, .progress, .request, .excessive, .rejected, .pingAcknowledged, .broken:
      break
    }
  }

  /// The head of a response is in `responseHead`.
  private mutating func takeBackendHead(_ exchange: Handle, _ body: BodyLength) {
    if responseHead.isInterim {
      perform(
        exchanges[exchange].machine.handle(.interim(status: responseHead.status), at: now),
        exchange)
      return
    }
    if isTunnelAccepted(exchange) { return openTunnel(exchange) }
    // Like a head of HTTP/1 it waits until its client has room, but here, since the connection must
    // be read on.
    let client = exchanges[exchange].client.connection
    if connections[client].transport.room < Self.headRoom { return keepHead(exchange, body) }
    guard takeFinalHead(exchange, length: body, persists: true) else { return }
    if exchanges[exchange].response.arrived.hasEnded { driveHTTP2Response(exchange) }
  }

  /// The backend has reset the stream. After NO_ERROR the response is complete (RFC 9113 8.1).
  private mutating func backendReset(
    _ exchange: Handle, _ code: ErrorCode, isUnprocessed: Bool, wantsHTTP1: Bool
  ) {
    if code == .noError && exchanges[exchange].response.arrived.hasEnded { return }
    // It is what a reset is for TCP (RFC 8441 5), so the client must not see an orderly end.
    if case .relaying = exchanges[exchange].machine.phase {
      return code == .noError ? endRelay(exchange) : attemptFailed(exchange, .relayReset)
    }
    if hasResponded(exchange) { return attemptFailed(exchange, .truncatedResponse) }
    if wantsHTTP1 && (isUnprocessed || code == .http11Required) { return requireHTTP1(exchange) }
    // A refusal for lack of streams, or a shutdown, is no failure of the backend.
    if isUnprocessed { return attemptFailed(exchange, .notProcessed) }
    // A request for calm may be about what one client sends. Another reset may be its client's
    // fault as well: servers of gRPC reset all other requests.
    exchanges[exchange].malformation = code.name
    attemptFailed(
      exchange, .resetBeforeResponse,
      blamesBackend: code != .enhanceYourCalm && isFaultLasting(exchange), isOfStream: true)
  }

  /// Whether the head of the response has come.
  mutating func hasResponded(_ exchange: Handle) -> Bool {
    exchanges[exchange].machine.hasAnswered || exchanges[exchange].response.keptHead != .none
  }

  // MARK: Responses

  mutating func driveHTTP2Response(_ exchange: Handle) {
    if exchanges[exchange].response.keptHead != .none {
      guard takeKeptHead(exchange) else { return }
    }
    guard exchanges[exchange].machine.hasAnswered, let backend = backend(of: exchange) else {
      return
    }
    if case .relaying = exchanges[exchange].machine.phase {
      return relayResponse(exchange, from: backend)
    }
    forwardBody(exchange, from: backend)
  }

  /// The response may go on, when its connection is driven.
  mutating func queueResponse(_ exchange: Handle, _ codec: Handle) {
    if exchanges[exchange].response.isQueued { return }
    exchanges[exchange].response.isQueued = true
    http2Sessions[codec].queued.append(exchange)
  }

  private mutating func driveQueuedResponses(_ codec: Handle) {
    for exchange in http2Sessions[codec].takeQueued() where exchanges.contains(exchange) {
      exchanges[exchange].response.isQueued = false
      driveHTTP2Response(exchange)
    }
  }

  // MARK: Flushing and deadlines

  mutating func http2BackendFlushed(_ handle: Handle, _ codec: Handle, hasSent: Bool) {
    if http2Sessions[codec].hasEnded { return }
    if hasSent { http2Sessions[codec].takenAt = now }
    if connections[handle].transport.sendFailure != nil {
      // The backend may have said something before it closed the connection.
      return queueToDrive(handle)
    }
    if connections[handle].transport.isFlushed && http2Sessions[codec].connection.hasTurn {
      queueToDrive(handle)
    }
    settleHTTP2Backend(handle, codec)
  }

  mutating func http2BackendExpired(_ handle: Handle, _ codec: Handle) {
    if http2Sessions[codec].hasEnded { return }
    frames.removeAll()
    while let event = http2Sessions[codec].connection.expire(at: now, into: &frames) {
      writeFrames(to: handle)
      if case .broken(let error) = event { return backendBroken(handle, codec, error) }
      handleBackendEvent(event, handle, codec)
      frames.removeAll()
    }
    writeFrames(to: handle)
    if !http2Sessions[codec].connection.isDraining && connections[handle].backend.retiresAt <= now {
      retire(handle, .upstreamRetiredByAge)
    }
    let idleEnd = http2Sessions[codec].idleSince + connections[handle].backend.keepAlive.idleTime
    if http2Sessions[codec].connection.streamCount == 0 && idleEnd <= now { retire(handle) }
    if connections.contains(handle) { settleHTTP2Backend(handle, codec) }
  }

  private mutating func setHTTP2BackendDeadline(_ handle: Handle, _ codec: Handle) {
    if http2Sessions[codec].hasEnded { return setDeadline(handle, .never) }
    var deadline = http2Sessions[codec].connection.deadline(at: now)
    if http2Sessions[codec].connection.streamCount == 0 {
      deadline = min(
        deadline, http2Sessions[codec].idleSince + connections[handle].backend.keepAlive.idleTime)
    }
    if !http2Sessions[codec].connection.isDraining {
      deadline = min(deadline, connections[handle].backend.retiresAt)
    }
    setDeadline(handle, deadline)
  }

  /// The next deadline, or the end of a connection that takes no more streams and has none left.
  mutating func settleHTTP2Backend(_ handle: Handle, _ codec: Handle) {
    let isFinished =
      http2Sessions[codec].hasEnded
      ? http2Sessions[codec].connection.streamCount == 0
      : http2Sessions[codec].connection.isFinished
    if isFinished { return close(handle) }
    setHTTP2BackendDeadline(handle, codec)
  }
}
