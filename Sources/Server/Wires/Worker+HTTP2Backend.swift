// HTTP/2 connections to backends: which requests share one, what each event means for its exchange,
// and the end.
//
// A lease is a stream here. A connection is shared while it takes more streams, and ends with its
// last one after that.

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
  /// If nothing came for this time when an attempt is given up, the backend may have disappeared.
  private static var silence: TimeSpan { .seconds(5) }

  // MARK: Sharing

  /// Begins the attempt on a connection that others use or dial too. False if there is none, and
  /// the exchange has to dial.
  mutating func shareConnection(_ handle: Handle, _ backend: Int, isFailOpen: Bool) -> Bool {
    for connection in stock.shared(by: backend) {
      switch connections[connection].wire {
      case .http2Backend(let codec):
        guard http2Sessions[codec].connection.freeStreamCount > 0,
          mayBegin(handle, on: connection, codec)
        else { continue }
        metrics.add(.upstreamConnectionsReused)
        lease(connection, for: handle)
        let start = Exchange.Event.attemptStarted(
          backend: backend, isReused: true, isFailOpen: isFailOpen)
        perform(exchanges[handle].machine.handle(start, at: now), handle)
        return true
      case .opening(.dialling)
      where stock.waiterCount(connection) + 1 < streamMax(of: backend):
        stock.wait(handle, for: connection)
        lease(connection, for: handle)
        let start = Exchange.Event.attemptStarted(
          backend: backend, isReused: false, isFailOpen: isFailOpen)
        perform(exchanges[handle].machine.handle(start, at: now), handle)
        return true
      default:
        continue
      }
    }
    return false
  }

  /// How many requests may share a connection that is being dialled: as many as the backend
  /// accepted on the last one. It would refuse the others.
  private func streamMax(of backend: Int) -> Int {
    min(stock.streamMax(of: backend) ?? Self.waiterMax, Self.waiterMax)
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

  /// Connecting has failed, for all that waited for it.
  mutating func dialFailed(_ connection: Handle, _ dialler: Handle, _ cause: FailureCause) {
    let waiting = releaseWaiters(connection)
    stock.unshare(connection, of: connections[connection].backend.id)
    attemptFailed(dialler, cause)
    for handle in waiting where exchanges.contains(handle) { attemptFailed(handle, cause) }
  }

  /// Ends the leases of those that wait for the connection, and returns who they are.
  private mutating func releaseWaiters(_ connection: Handle) -> [Handle] {
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
    perform(exchanges[dialler].machine.handle(.connected, at: now), dialler)
    for waiter in waiting where exchanges.contains(waiter) && self.backend(of: waiter) == handle {
      perform(exchanges[waiter].machine.handle(.connected, at: now), waiter)
    }
    if connections.contains(handle) { settleHTTP2Backend(handle, codec) }
  }

  /// Begins the stream with the kept head; false when the attempt has failed.
  mutating func openBackendStream(_ exchange: Handle, on handle: Handle, _ codec: Handle) -> Bool {
    // A tunnel would need what follows the head in both directions.
    if !heads[exchanges[exchange].head].connectProtocol.isEmpty {
      responseRefused(exchange, reason: HTTP2Error.unsendableHead.name, blamesBackend: false)
      return false
    }
    let before =
      connections[handle].transport.sentByteCount
      + UInt64(connections[handle].transport.unsentByteCount)
    frames.removeAll()
    let outcome = http2Sessions[codec].connection.open(
      heads[exchanges[exchange].head],
      scheme: connections[handle].transport.isEncrypted ? .https : .http,
      body: exchanges[exchange].body.length, owner: exchange.packed,
      acceptsTrailers: exchanges[exchange].request.acceptsTrailers, workspace: &http2,
      into: &frames)
    writeFrames(to: handle)
    switch outcome {
    case .opened(let stream):
      exchanges[exchange].attempt.open(stream, sentBefore: before)
      setHTTP2BackendDeadline(handle, codec)
      return true
    case .full:
      attemptFailed(exchange, .closedBeforeResponse, blamesBackend: false, isUnprocessed: true)
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
        countHTTP2(ofBackend: error)
        endBackend(handle, codec, .resetBeforeResponse, reason: error.name)
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
      exchanges[exchange].response.trailers = consume trailers
      exchanges[exchange].response.arrived.hasEnded = true
      driveHTTP2Response(exchange)
    case .reset(let stream, let code, let isUnprocessed):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        return releaseHTTP2Stream(StreamID(connection: handle, stream: stream), codec)
      }
      backendReset(exchange, code, isUnprocessed: isUnprocessed)
    case .failed(let stream, let error):
      countHTTP2(ofBackend: error)
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        return releaseHTTP2Stream(StreamID(connection: handle, stream: stream), codec)
      }
      if error == .stalledPeer { return attemptFailed(exchange, .responseTimeout) }
      responseRefused(exchange, reason: error.name, blamesBackend: true)
    case .goAway:
      // It isn't an error: the backend may be restarting, or has served enough requests.
      stock.unshare(handle, of: connections[handle].backend.id)
    case .settingsChanged:
      stock.noteStreamMax(
        http2Sessions[codec].connection.openStreamMax, of: connections[handle].backend.id)
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
    guard takeFinalHead(exchange, length: body, persists: true) else { return }
    if exchanges[exchange].response.arrived.hasEnded { driveHTTP2Response(exchange) }
  }

  /// The backend has reset the stream. After NO_ERROR the response is complete (RFC 9113 8.1).
  private mutating func backendReset(
    _ exchange: Handle, _ code: ErrorCode, isUnprocessed: Bool
  ) {
    if code == .noError && exchanges[exchange].response.arrived.hasEnded { return }
    if exchanges[exchange].machine.hasAnswered {
      return attemptFailed(exchange, .truncatedResponse)
    }
    // A refusal for lack of streams, and a shutdown, say nothing about the health of the backend.
    attemptFailed(
      exchange, .resetBeforeResponse, blamesBackend: !isUnprocessed, isUnprocessed: isUnprocessed)
  }

  // MARK: Responses

  mutating func driveHTTP2Response(_ exchange: Handle) {
    guard exchanges[exchange].machine.hasAnswered, let backend = backend(of: exchange) else {
      return
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
      if case .broken(let error) = event {
        countHTTP2(ofBackend: error)
        return endBackend(handle, codec, .resetBeforeResponse, reason: error.name)
      }
      handleBackendEvent(event, handle, codec)
      frames.removeAll()
    }
    writeFrames(to: handle)
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
    setDeadline(handle, deadline)
  }

  /// The next deadline, or the end of a connection that takes no more streams and has none left.
  private mutating func settleHTTP2Backend(_ handle: Handle, _ codec: Handle) {
    let isFinished =
      http2Sessions[codec].hasEnded
      ? http2Sessions[codec].connection.streamCount == 0
      : http2Sessions[codec].connection.isFinished
    if isFinished { return close(handle) }
    setHTTP2BackendDeadline(handle, codec)
  }

  // MARK: Ending

  /// The connection takes no more requests, and ends with its last stream. It is not closed here,
  /// but when it is driven: the caller may be in the middle of its streams.
  mutating func retire(_ handle: Handle) {
    guard case .http2Backend(let codec) = connections[handle].wire else { return }
    stock.unshare(handle, of: connections[handle].backend.id)
    frames.removeAll()
    http2Sessions[codec].connection.beginDrain(at: now, into: &frames)
    writeFrames(to: handle)
    queueToDrive(handle)
  }

  /// The attempt is over: the stream is reset unless it is closed.
  mutating func endBackendStream(_ exchange: Handle, _ stream: StreamID, _ codec: Handle) {
    let isComplete = exchanges[exchange].response.arrived.hasEnded
    exchanges[exchange].response.trailers = nil
    exchanges[exchange].response.arrived.clear(&buffers)
    exchanges[exchange].body.isBlocked = false
    if stream.stream != 0 { releaseHTTP2Stream(stream, codec) }
    let isSilent =
      !isComplete && http2Sessions[codec].connection.lastReceived + Self.silence <= now
    if stage != .serving || isOutdated(exchange) || isSilent
      || isSuperfluous(stream.connection, codec)
    {
      retire(stream.connection)
    }
    if http2Sessions[codec].hasEnded { queueToDrive(stream.connection) }
  }

  /// Whether the connection has become idle, and there are as many to its backend as are kept. A
  /// backend may accept few streams on each, or none.
  private mutating func isSuperfluous(_ handle: Handle, _ codec: Handle) -> Bool {
    guard http2Sessions[codec].connection.streamCount == 0 else { return false }
    let backend = connections[handle].backend
    return stock.shared(by: backend.id).count > backend.keepAlive.idleMax
  }

  /// The connection has failed, with all its streams but those whose response is here completely:
  /// it is kept for them, until their clients have taken it.
  private mutating func endBackend(
    _ handle: Handle, _ codec: Handle, _ cause: FailureCause, reason: StaticString? = nil
  ) {
    http2Sessions[codec].hasEnded = true
    failBackendStreams(handle, codec, cause, reason: reason, sparesComplete: true)
    settleHTTP2Backend(handle, codec)
  }

  /// Whether a request waits of which the socket has taken nothing.
  private mutating func hasUnsentRequest(_ codec: Handle) -> Bool {
    for slot in 0..<http2Sessions[codec].connection.slotCount {
      guard let stream = http2Sessions[codec].connection.stream(at: slot),
        let exchange = http2Sessions[codec].exchange(of: stream)
      else { continue }
      if takenByteCount(exchange) == 0 { return true }
    }
    return false
  }

  /// Fails all attempts on the connection, which takes no more.
  mutating func failBackendStreams(
    _ handle: Handle, _ codec: Handle, _ cause: FailureCause, reason: StaticString? = nil,
    sparesComplete: Bool = false
  ) {
    stock.unshare(handle, of: connections[handle].backend.id)
    // It may be sent again elsewhere, and must not be sent here after that.
    if hasUnsentRequest(codec) { connections[handle].transport.silence(&buffers) }
    var slot: UInt16 = 0
    while slot < http2Sessions[codec].connection.slotCount {
      defer { slot += 1 }
      guard let stream = http2Sessions[codec].connection.stream(at: slot) else { continue }
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        releaseHTTP2Stream(StreamID(connection: handle, stream: stream), codec)
        continue
      }
      if sparesComplete && exchanges[exchange].response.arrived.hasEnded { continue }
      if let reason { exchanges[exchange].malformation = reason }
      attemptFailed(
        exchange, exchanges[exchange].machine.hasAnswered ? .truncatedResponse : cause)
    }
  }
}
