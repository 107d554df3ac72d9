// How HTTP/2 connections to backends end, and when they take no more streams: by age, after too
// many resets, when the backend says so, or when it is gone.

import Balancing
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// If nothing came for this time when an attempt is given up, the backend may have disappeared.
  private static var silence: TimeSpan { .seconds(5) }

  // MARK: Ending

  /// The connection takes no more requests, and ends with its last stream. It is not closed here,
  /// but when it is driven: the caller may be in the middle of its streams.
  mutating func retire(_ handle: Handle, _ reason: Metric? = nil) {
    guard case .http2Backend(let codec) = connections[handle].wire else { return }
    if let reason, !http2Sessions[codec].connection.isDraining { metrics.add(reason) }
    stock.unshare(handle, of: connections[handle].backend.id)
    frames.removeAll()
    http2Sessions[codec].connection.beginDrain(at: now, into: &frames)
    writeFrames(to: handle)
    queueToDrive(handle)
  }

  /// The attempt is over: the stream is reset unless it is closed.
  mutating func endBackendStream(_ exchange: Handle, _ stream: StreamID, _ codec: Handle) {
    let isComplete = exchanges[exchange].response.arrived.hasEnded
    if !exchanges[exchange].response.hasNoTrailers { dropKeptTrailers(exchange) }
    exchanges[exchange].response.arrived.clear(&buffers)
    exchanges[exchange].response.isQueued = false
    exchanges[exchange].body.isBlocked = false
    dropKeptHead(exchange)
    if stream.stream != 0 {
      var isReset = http2Sessions[codec].connection.isOpen(stream.stream)
      if isReset && isComplete && asksForTunnel(exchange) {
        // The backend has refused the tunnel, or has finished: it gets an end, and no reset.
        writeEnd(to: stream)
        isReset = http2Sessions[codec].connection.isOpen(stream.stream)
      }
      releaseHTTP2Stream(stream, codec)
      if isReset {
        let isImmediate = exchanges[exchange].machine.attempts.last?.startedAt == now
        countReset(stream.connection, codec, isImmediate: isImmediate)
      }
    } else {
      stock.removeWaiter(exchange, of: stream.connection)
    }
    let isSilent =
      !isComplete && http2Sessions[codec].connection.lastReceived + Self.silence <= now
    if lifecycle != .serving || isOutdated(exchange) || isSilent
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
  mutating func endBackend(
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
    // However many streams it had, its end is one failure of the backend.
    var isFirst = true
    for exchange in releaseWaiters(handle) where exchanges.contains(exchange) {
      attemptFailed(exchange, cause, blamesBackend: isFirst)
      isFirst = false
    }
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
        exchange, hasResponded(exchange) ? .truncatedResponse : cause, blamesBackend: isFirst)
      isFirst = false
    }
  }

  /// The backend has broken a rule of the connection, or has disappeared.
  mutating func backendBroken(_ handle: Handle, _ codec: Handle, _ error: HTTP2Error) {
    countHTTP2(ofBackend: error)
    switch error {
    case .noHTTP2: endBackend(handle, codec, .noHTTP2)
    case .pingTimeout: endBackend(handle, codec, .pingTimeout)
    default: endBackend(handle, codec, .resetBeforeResponse, reason: error.name)
    }
  }

  // MARK: What the backend wants

  /// GOAWAY: streams that the backend has not begun are reset after this.
  mutating func backendLeaves(_ handle: Handle, _ codec: Handle, _ code: ErrorCode) {
    let backend = connections[handle].backend.id
    let isFirst = stock.unshare(handle, of: backend)
    switch code {
    case .enhanceYourCalm:
      if isFirst { metrics.add(.upstreamRetiredByCalm) }
      stock.calm(
        backend, streamCount: http2Sessions[codec].connection.streamCount, at: now)
    case .http11Required:
      http2Sessions[codec].wantsHTTP1 = true
    default:
      // It isn't an error: the backend may be restarting, or has served enough requests.
      if isFirst { metrics.add(.upstreamRetiredByBackend) }
    }
  }

  /// The backend wants HTTP/1 for this request, and has not begun it (RFC 9113 7).
  mutating func requireHTTP1(_ exchange: Handle) {
    guard exchanges[exchange].pool.protocol == .auto, let handle = backend(of: exchange) else {
      // A client may have asked for what this backend has only for HTTP/1.
      return attemptFailed(exchange, .noHTTP2, blamesBackend: false)
    }
    stock.requireHTTP1(connections[handle].backend.id, at: now)
    attemptFailed(exchange, .notProcessed)
  }

  /// Martlet has reset a stream (see CancelBudget).
  mutating func countReset(_ handle: Handle, _ codec: Handle, isImmediate: Bool = false) {
    if !http2Sessions[codec].cancels.take(isImmediate: isImmediate, at: now) {
      retire(handle, .upstreamRetiredByCancels)
    }
  }
}
