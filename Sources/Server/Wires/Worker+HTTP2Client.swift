// Clients' HTTP/2 connections: receiving, what each event means, deadlines, and the end.
//
// A connection is always read, unless the client doesn't take what it was sent: what waits for
// credit is a stream. What a stream sends is in Worker+HTTP2Streams.

import HTTP
import HTTP1
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Frames that are handled before it is the turn of other connections, of either side.
  static var framesPerDrive: Int { 256 }
  /// Requests, likewise: some are answered at once, such as by a redirect.
  private static var requestsPerDrive: Int { 16 }
  /// If more waits for the client than this, it isn't read until it takes some. Each frame that is
  /// read may add a short one.
  private static var unsentMax: Int { 2 * BufferPool.largeByteCount }
  /// After this time without a stream, the connection frees what it doesn't need.
  private static var settleTime: TimeSpan { .seconds(1) }

  /// The client speaks HTTP/2 from its first byte on.
  mutating func beginHTTP2(_ handle: Handle) {
    let codec = http2Sessions.insert(
      HTTP2Session(HTTP2Connection(role: .server, limits: settings.http2, at: now), at: now))
    change(handle, to: .http2Client(codec: codec))
    metrics.add(.http2Connections)
    frames.removeAll()
    http2Sessions[codec].connection.start(at: now, into: &frames)
    writeFrames(to: handle)
    setHTTP2Deadline(handle, codec)
  }

  /// What the codec has written goes to the transport.
  mutating func writeFrames(to handle: Handle) {
    if frames.isEmpty { return }
    connections[handle].transport.write(frames, &io, &buffers)
    queueToFlush(handle)
  }

  // MARK: Receiving

  mutating func driveHTTP2Client(_ handle: Handle, _ codec: Handle) {
    driveQueuedRequests(codec)
    if receiveFrames(handle, codec) {
      sendTurns(handle, codec)
      settleHTTP2(handle, codec)
    }
  }

  /// Handles what was received, and receives one more block. False when the connection has ended.
  private mutating func receiveFrames(_ handle: Handle, _ codec: Handle) -> Bool {
    var hasReceived = false
    var stepCount = 0
    let requestsBefore = http2Sessions[codec].requestCount
    while connections[handle].transport.unsentByteCount <= Self.unsentMax {
      let step = nextStep(handle, codec)
      if step.event == .needsInput {
        connections[handle].transport.inbound.consume(step.consumed)
        // One block, then the other connections.
        if hasReceived && connections[handle].transport.mayHoldMore {
          queueToDrive(handle)
          break
        }
        switch receive(handle) {
        case .bytes: hasReceived = true
        case .nothing:
          connections[handle].transport.settle(&buffers)
          return true
        case .finished, .failed:
          close(handle)
          return false
        }
        continue
      }
      if case .broken(let error) = step.event {
        endHTTP2(handle, codec, error)
        return false
      }
      handleEvent(step.event, handle, codec)
      connections[handle].transport.inbound.consume(step.consumed)
      stepCount += 1
      let requestCount = http2Sessions[codec].requestCount - requestsBefore
      if stepCount == Self.framesPerDrive || requestCount == Self.requestsPerDrive {
        queueToDriveNext(handle)
        break
      }
    }
    return true
  }

  /// The next step of the codec. What it answers by itself is written.
  mutating func nextStep(_ handle: Handle, _ codec: Handle) -> HTTP2Step {
    frames.removeAll()
    let step = http2Sessions[codec].receive(
      from: connections[handle].transport.inbound, at: now, workspace: &http2,
      unsent: connections[handle].transport.unsentByteCount, into: &frames)
    writeFrames(to: handle)
    return step
  }

  private mutating func handleEvent(_ event: HTTP2Event, _ handle: Handle, _ codec: Handle) {
    switch event {
    case .request(let stream, let body, let ends):
      beginRequest(StreamID(connection: handle, stream: stream), codec, body: body, ends: ends)
    case .excessive(let stream, let error):
      refuseRequest(StreamID(connection: handle, stream: stream), codec, error, answers: true)
    case .rejected(let stream, let error):
      if error == .tooManyStreams { return countHTTP2(error) }
      refuseRequest(StreamID(connection: handle, stream: stream), codec, error, answers: false)
    case .piece(let stream, let place, let ends):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        discard(StreamID(connection: handle, stream: stream), codec)
        if ends { lingeringEnded(StreamID(connection: handle, stream: stream), codec) }
        return
      }
      exchanges[exchange].body.arrived.append(
        connections[handle].transport.inbound, place, &buffers)
      if ends { exchanges[exchange].body.arrived.hasEnded = true }
      driveHTTP2Request(exchange)
    case .end(let stream):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        return lingeringEnded(StreamID(connection: handle, stream: stream), codec)
      }
      exchanges[exchange].body.arrived.hasEnded = true
      driveHTTP2Request(exchange)
    case .trailers(let stream):
      guard let exchange = http2Sessions[codec].exchange(of: stream) else {
        return lingeringEnded(StreamID(connection: handle, stream: stream), codec)
      }
      swap(&trailers, &http2.trailers)
      keepTrailers(exchange)
      exchanges[exchange].body.arrived.hasEnded = true
      driveHTTP2Request(exchange)
    case .reset(let stream, let code, _):
      metrics.add(.streamResetsReceived, at: UInt8(code.rawValue))
      endRequest(StreamID(connection: handle, stream: stream), codec, nil)
    case .failed(let stream, let error):
      countHTTP2(error)
      metrics.add(.streamResetsSent, at: UInt8(error.code.rawValue))
      endRequest(StreamID(connection: handle, stream: stream), codec, error)
    case .needsInput, .progress, .response, .settingsChanged, .goAway, .pingAcknowledged, .broken:
      break
    }
  }

  // MARK: Requests

  private mutating func beginRequest(
    _ client: StreamID, _ codec: Handle, body: BodyLength, ends: Bool
  ) {
    http2Sessions[codec].requestCount += 1
    swap(&heads[nextHead], &http2.request)
    // The request of an extended CONNECT has no body: what follows is for the protocol.
    let isConnect = !heads[nextHead].connectProtocol.isEmpty
    beginExchange(
      on: client, body: isConnect ? .none : body, persists: true, tolerated: ToleratedReasons(),
      error: nil)
    // Its client sends nothing through the tunnel, which must be passed on once that is open.
    if isConnect && ends, let exchange = http2Sessions[codec].exchange(of: client.stream) {
      exchanges[exchange].body.arrived.hasEnded = true
    }
  }

  /// A request whose head is malformed or too large. This is an exchange too. With `answers` the
  /// stream is open, else it was reset.
  private mutating func refuseRequest(
    _ client: StreamID, _ codec: Handle, _ error: HTTP2Error, answers: Bool
  ) {
    http2Sessions[codec].requestCount += 1
    countHTTP2(error)
    if !answers { metrics.add(.streamResetsSent, at: UInt8(error.code.rawValue)) }
    let method = http2.request.method
    heads[nextHead].reset()
    heads[nextHead].version = .http2
    heads[nextHead].method = method
    let exchange = insertExchange(
      client, startedAt: now, isComplete: false,
      ActiveExchange.RequestFacts(
        hasHead: false, persists: true, tolerated: ToleratedReasons(),
        client: connections[client.connection].client.address, isTLS: false, trace: nil))
    answer(
      exchange, LocalAnswer(error: error.status), failure: .malformedHead, reason: error.name)
  }

  mutating func driveHTTP2Request(_ exchange: Handle) {
    if case .relaying = exchanges[exchange].machine.phase {
      relayRequest(exchange, from: exchanges[exchange].client.connection)
    } else {
      var hasMore = true
      while hasMore && exchanges.contains(exchange) { hasMore = driveRequest(exchange) }
    }
  }

  /// The request may go on, when its connection is driven.
  mutating func queueRequest(_ exchange: Handle, _ codec: Handle) {
    if exchanges[exchange].body.isQueued { return }
    exchanges[exchange].body.isQueued = true
    http2Sessions[codec].queued.append(exchange)
  }

  private mutating func driveQueuedRequests(_ codec: Handle) {
    for exchange in http2Sessions[codec].takeQueued() where exchanges.contains(exchange) {
      exchanges[exchange].body.isQueued = false
      driveHTTP2Request(exchange)
    }
  }

  /// The client has reset the stream, or has broken a rule on it: `error`.
  private mutating func endRequest(_ client: StreamID, _ codec: Handle, _ error: HTTP2Error?) {
    guard let exchange = http2Sessions[codec].exchange(of: client.stream) else {
      return releaseHTTP2Stream(client, codec)
    }
    switch error {
    case nil:
      clientGone(exchange)
    case .stalledPeer:
      metrics.add(.slowResponses)
      perform(exchanges[exchange].machine.handle(.refused(.clientStalled), at: now), exchange)
    case .some(let error):
      exchanges[exchange].malformation = error.name
      perform(exchanges[exchange].machine.handle(.refused(.malformedBody), at: now), exchange)
    }
  }

  // MARK: Deadlines

  mutating func http2Expired(_ handle: Handle, _ codec: Handle) {
    frames.removeAll()
    while let event = http2Sessions[codec].connection.expire(at: now, into: &frames) {
      writeFrames(to: handle)
      if case .broken(let error) = event { return endHTTP2(handle, codec, error) }
      handleEvent(event, handle, codec)
      frames.removeAll()
    }
    writeFrames(to: handle)
    expireLingering(handle, codec)
    frames.removeAll()
    if http2Sessions[codec].connection.streamCount == 0 { expireIdle(codec) }
    writeFrames(to: handle)
    if http2Sessions[codec].checksAt <= now, !checkHTTP2Taking(handle, codec) { return }
    settleHTTP2(handle, codec)
  }

  /// It has been idle for some time. The frames of a shutdown are in `frames`.
  private mutating func expireIdle(_ codec: Handle) {
    let idleSince = http2Sessions[codec].idleSince
    if !http2Sessions[codec].isSettled && idleSince + Self.settleTime <= now {
      http2Sessions[codec].isSettled = true
      http2Sessions[codec].connection.settle()
    }
    if idleEnd(codec) <= now { http2Sessions[codec].connection.endDrain(into: &frames) }
  }

  /// When a connection without streams ends. One that is drained ends after the answer to its PING,
  /// and not before: a request may be on its way. A request that has begun to arrive gets some time
  /// for the rest.
  private mutating func idleEnd(_ codec: Handle) -> Instant {
    if http2Sessions[codec].connection.isDraining { return .never }
    let end = http2Sessions[codec].idleSince + idleTime
    return http2Sessions[codec].connection.isReceivingFrame
      ? end + settings.http2.frameTimeout : end
  }

  private mutating func setHTTP2Deadline(_ handle: Handle, _ codec: Handle) {
    var deadline = min(
      http2Sessions[codec].connection.deadline(at: now), http2Sessions[codec].checksAt)
    if http2Sessions[codec].connection.streamCount == 0 {
      deadline = min(deadline, idleEnd(codec))
      if !http2Sessions[codec].isSettled {
        deadline = min(deadline, http2Sessions[codec].idleSince + Self.settleTime)
      }
    }
    if !http2Sessions[codec].lingering.isEmpty {
      deadline = min(deadline, http2Sessions[codec].lingering.values.min() ?? .never)
    }
    setDeadline(handle, deadline)
  }

  // MARK: Ending

  /// After something was received, sent or due: the next deadline, or the end of a connection that
  /// is drained.
  mutating func settleHTTP2(_ handle: Handle, _ codec: Handle) {
    if http2Sessions[codec].connection.isFinished && http2Sessions[codec].rests.isEmpty {
      return finishWriting(handle, linger: true)
    }
    watchHTTP2Taking(handle, codec)
    setHTTP2Deadline(handle, codec)
  }

  /// Begins the shutdown (RFC 9113 6.8): the client opens no more streams. Requests that are on
  /// their way are still served.
  mutating func drainHTTP2(_ handle: Handle, _ codec: Handle) {
    if http2Sessions[codec].connection.isDraining { return }
    metrics.add(.http2Drains)
    frames.removeAll()
    http2Sessions[codec].connection.beginDrain(at: now, into: &frames)
    writeFrames(to: handle)
    setHTTP2Deadline(handle, codec)
  }

  /// Whether the connection should take no more requests.
  mutating func mustDrainHTTP2(_ handle: Handle, _ codec: Handle) -> Bool {
    if http2Sessions[codec].requestCount >= settings.requestsPerConnectionMax {
      if !http2Sessions[codec].connection.isDraining { metrics.add(.connectionsUsedUp) }
      return true
    }
    if overload != .normal {
      if !http2Sessions[codec].connection.isDraining { metrics.add(.connectionsEndedByOverload) }
      return true
    }
    return lifecycle != .serving || listeners[connections[handle].client.listener].configured == nil
  }

  /// The client has broken a rule of the connection; GOAWAY is written.
  private mutating func endHTTP2(_ handle: Handle, _ codec: Handle, _ error: HTTP2Error) {
    countHTTP2(error)
    endStreams(handle, codec)
    finishWriting(handle, linger: true)
  }

  /// The last GOAWAY before the connection is closed.
  mutating func writeGoAway(_ handle: Handle) {
    guard case .http2Client(let codec) = connections[handle].wire else { return }
    frames.removeAll()
    http2Sessions[codec].connection.endDrain(into: &frames)
    writeFrames(to: handle)
  }

  /// The connection can't carry any of its streams further.
  mutating func endStreams(_ handle: Handle, _ codec: Handle) {
    var slot: UInt16 = 0
    while slot < http2Sessions[codec].connection.slotCount {
      if let stream = http2Sessions[codec].connection.stream(at: slot) {
        endRequest(StreamID(connection: handle, stream: stream), codec, nil)
      }
      slot += 1
    }
  }

  /// Must be called before the connection of the codec is removed.
  mutating func dropHTTP2(_ codec: Handle) {
    http2Sessions[codec].connection.end(workspace: &http2)
    http2Sessions.drop(codec)
  }
}
