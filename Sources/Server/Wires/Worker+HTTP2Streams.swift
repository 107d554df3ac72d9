// What the streams of an HTTP/2 connection send, in which order, and how they end.
//
// A body is sent as far as its stream's window, the connection's window and the transport allow. As
// soon as one has to wait, the codec decides by priority which is next (RFC 9218): it gives turns,
// and the exchange whose turn it is moves one frame's worth from its other side. So bytes that wait
// are there, and not in a queue here. For that, a turn drives the other side's HTTP/1 connection
// directly: the only place where one connection drives another.

import HTTP
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Turns that are given before it is the turn of other connections.
  private static var turnsPerDrive: Int { 32 }
  /// Below this much room in the transport, bodies wait until it is flushed.
  private static var bodyRoom: Int { 2048 }
  /// For the headers of frames.
  private static var frameOverhead: Int { 256 }

  // MARK: Turns

  /// How many bytes of a body may be written now, and whether that is enough.
  mutating func http2Room(
    _ stream: StreamID, _ codec: Handle, _ transportRoom: Int
  ) -> (room: Int, isEnough: Bool) {
    if transportRoom < Self.bodyRoom { return (0, false) }
    let isItsTurn = http2Sessions[codec].turn == stream.stream
    if http2Sessions[codec].connection.hasTurn && !isItsTurn { return (0, false) }
    var room = min(
      http2Sessions[codec].connection.room(on: stream.stream), transportRoom - Self.frameOverhead)
    if isItsTurn && http2Sessions[codec].connection.waitingStreamCount > 1,
      let turn = http2Sessions[codec].connection.nextTurn()
    {
      room = min(room, turn.byteCount)
    }
    return (room, room > 0)
  }

  /// The stream waits for a turn.
  mutating func awaitHTTP2Room(_ stream: StreamID, _ codec: Handle) {
    http2Sessions[codec].connection.setWantsToSend(true, on: stream.stream)
    if connections[stream.connection].transport.room >= Self.bodyRoom
      && http2Sessions[codec].connection.hasTurn
    {
      queueToDrive(stream.connection)
    }
  }

  /// Gives turns while the transport has room: first to heads, which are short, then to bodies.
  mutating func sendTurns(_ handle: Handle, _ codec: Handle) {
    var count = 0
    while connections.contains(handle), connections[handle].transport.room >= Self.bodyRoom {
      if !http2Sessions[codec].waitingHeads.isEmpty {
        if connections[handle].transport.room < Self.headRoom { return }
        sendWaitingHead(codec)
      } else if let turn = http2Sessions[codec].connection.nextTurn() {
        give(turn.stream, handle, codec)
      } else {
        return
      }
      count += 1
      if count == Self.turnsPerDrive { return queueToDrive(handle) }
    }
  }

  private mutating func sendWaitingHead(_ codec: Handle) {
    let exchange = http2Sessions[codec].waitingHeads.removeFirst()
    guard exchanges.contains(exchange) else { return }
    exchanges[exchange].response.isBlocked = false
    driveResponseSource(exchange)
  }

  /// Moves what the backend has sent of the response.
  private mutating func driveResponseSource(_ exchange: Handle) {
    guard let backend = backend(of: exchange) else { return }
    if case .http2Backend = connections[backend].wire {
      driveHTTP2Response(exchange)
    } else {
      drive(backend)
    }
  }

  /// Moves what the client has sent of the request.
  private mutating func driveRequestSource(_ exchange: Handle) {
    let client = exchanges[exchange].client
    if client.stream != 0 { driveHTTP2Request(exchange) } else { drive(client.connection) }
  }

  /// It is the stream's turn to send a part of its body. This may end the connection to a backend.
  private mutating func give(_ stream: UInt32, _ handle: Handle, _ codec: Handle) {
    guard let exchange = http2Sessions[codec].exchange(of: stream), exchanges.contains(exchange)
    else { return sendRest(StreamID(connection: handle, stream: stream), codec) }
    http2Sessions[codec].turn = stream
    if connections[handle].isClient {
      exchanges[exchange].response.isBlocked = false
      driveResponseSource(exchange)
    } else {
      exchanges[exchange].body.isBlocked = false
      driveRequestSource(exchange)
    }
    guard http2Sessions.contains(codec) else { return }
    if http2Sessions[codec].turn == stream {
      // It had nothing to send after all. When it has, it asks again.
      http2Sessions[codec].connection.setWantsToSend(false, on: stream)
    }
    http2Sessions[codec].turn = nil
  }

  // MARK: Sending

  /// Writes the head in `responseHead`. Returns why HTTP/2 can't carry it, if so.
  mutating func writeHTTP2Head(
    to stream: StreamID, _ codec: Handle, body: BodyLength
  ) -> StaticString? {
    frames.removeAll()
    let outcome = http2Sessions[codec].connection.send(
      responseHead, body: body, on: stream.stream, workspace: &http2, into: &frames)
    writeFrames(to: stream.connection)
    if case .refused(let error) = outcome { return error.name }
    return nil
  }

  /// Must be called with at most as many bytes as there is room for.
  mutating func writeHTTP2Piece(
    _ source: borrowing ByteBuffer, _ range: Range<Int>, to stream: StreamID, _ codec: Handle,
    ends: Bool
  ) {
    frames.removeAll()
    let sent = http2Sessions[codec].send(
      source, range, ends: ends, on: stream.stream, into: &frames)
    assert(sent == range.count, "a piece larger than its room")
    if http2Sessions[codec].turn == stream.stream { http2Sessions[codec].turn = nil }
    writeFrames(to: stream.connection)
  }

  /// Ends the response with the worker's `trailers`, if there are any.
  mutating func writeHTTP2End(to stream: StreamID, _ codec: Handle) {
    frames.removeAll()
    var isSent = false
    if trailers.count > 0 {
      isSent =
        http2Sessions[codec].connection.send(
          trailers: trailers, on: stream.stream, workspace: &http2, into: &frames) == .sent
    }
    // Trailers that the client doesn't take are left out (RFC 9110 6.5.1).
    if !isSent { http2Sessions[codec].connection.sendEnd(on: stream.stream, into: &frames) }
    writeFrames(to: stream.connection)
  }

  /// Writes an answer in `scratch`. What doesn't fit into the window waits for it. `shared` is the
  /// same bytes, if they are in the configuration too.
  mutating func writeHTTP2Whole(
    _ range: Range<Int>, to stream: StreamID, _ codec: Handle, shared: [UInt8]? = nil
  ) {
    frames.removeAll()
    let sent = http2Sessions[codec].send(
      scratch, range, ends: true, on: stream.stream, into: &frames)
    writeFrames(to: stream.connection)
    // Nothing waits on a stream that was reset.
    guard sent < range.count, http2Sessions[codec].connection.awaitsBody(on: stream.stream)
    else { return }
    let rest =
      if let shared {
        HTTP2Session.Rest(bytes: shared, sentCount: sent, byteCount: 0)
      } else {
        HTTP2Session.Rest(
          bytes: scratch.array((range.lowerBound + sent)..<range.upperBound),
          byteCount: range.count - sent)
      }
    guard http2Sessions[codec].keep(rest, of: stream.stream) else {
      metrics.add(.slowResponses)
      return resetHTTP2Stream(stream, codec, .cancel)
    }
    http2Sessions[codec].connection.setWantsToSend(true, on: stream.stream)
  }

  /// It is the turn of an answer whose exchange has ended.
  private mutating func sendRest(_ stream: StreamID, _ codec: Handle) {
    guard let rest = http2Sessions[codec].rests[stream.stream] else {
      return http2Sessions[codec].connection.setWantsToSend(false, on: stream.stream)
    }
    frames.removeAll()
    let sent = http2Sessions[codec].connection.send(
      rest.bytes.span.extracting(rest.sentCount...), ends: true, on: stream.stream, into: &frames)
    writeFrames(to: stream.connection)
    if rest.sentCount + sent < rest.bytes.count {
      http2Sessions[codec].sentRest(sent, of: stream.stream)
    } else {
      http2Sessions[codec].dropRest(of: stream.stream)
      endHTTP2Stream(stream, codec)
    }
  }

  // MARK: Windows

  /// The stream's receiver has taken `count` bytes.
  mutating func credit(_ count: Int, _ stream: StreamID) {
    guard let codec = session(of: stream.connection) else { return }
    frames.removeAll()
    http2Sessions[codec].connection.consumed(
      count, of: stream.stream, workspace: &http2, into: &frames)
    writeFrames(to: stream.connection)
  }

  // MARK: Ending

  /// The response is written. If the request isn't complete, the client may stop sending it (RFC
  /// 9113 8.1). What it still sends is discarded for some time, as in HTTP/1, since some clients
  /// lose the response if they get RST_STREAM at once (curl 7.88).
  mutating func endHTTP2Stream(_ stream: StreamID, _ codec: Handle) {
    let isLingering = http2Sessions[codec].connection.isReceiving(stream.stream)
    if isLingering || http2Sessions[codec].rests[stream.stream] != nil {
      // The stream goes on without its exchange.
      http2Sessions[codec].connection.setOwner(0, of: stream.stream)
      if isLingering {
        http2Sessions[codec].lingering[stream.stream] = now + lingerTime
        discard(stream, codec)
      }
      return queueToFlush(stream.connection)
    }
    resetHTTP2Stream(stream, codec, .noError)
    releaseHTTP2Stream(stream, codec)
    if mustDrainHTTP2(stream.connection, codec) { drainHTTP2(stream.connection, codec) }
  }

  /// What has come on a stream without an exchange is discarded, and credited.
  mutating func discard(_ stream: StreamID, _ codec: Handle) {
    credit(http2Sessions[codec].connection.unconsumedByteCount(of: stream.stream), stream)
  }

  /// The request whose response has ended is complete now.
  mutating func lingeringEnded(_ stream: StreamID, _ codec: Handle) {
    guard http2Sessions[codec].lingering.removeValue(forKey: stream.stream) != nil else { return }
    endHTTP2Stream(stream, codec)
  }

  /// Ends the streams that have lingered long enough.
  mutating func expireLingering(_ handle: Handle, _ codec: Handle) {
    if http2Sessions[codec].lingering.isEmpty { return }
    // In order, so that a simulated run can be repeated.
    let due = http2Sessions[codec].lingering.filter { $0.value <= now }
    for stream in due.keys.sorted() {
      // It is not reset before its answer is sent.
      guard http2Sessions[codec].rests[stream] == nil else {
        http2Sessions[codec].lingering[stream] = nil
        continue
      }
      let stream = StreamID(connection: handle, stream: stream)
      resetHTTP2Stream(stream, codec, .noError)
      lingeringEnded(stream, codec)
    }
  }

  /// The response can't be completed.
  mutating func cutHTTP2Stream(_ stream: StreamID, _ codec: Handle, isGone: Bool) {
    resetHTTP2Stream(stream, codec, isGone ? .cancel : .internalError)
    releaseHTTP2Stream(stream, codec)
    if mustDrainHTTP2(stream.connection, codec) { drainHTTP2(stream.connection, codec) }
  }

  /// Does nothing if the stream is closed.
  mutating func resetHTTP2Stream(_ stream: StreamID, _ codec: Handle, _ code: ErrorCode) {
    frames.removeAll()
    http2Sessions[codec].connection.abortStream(stream.stream, code, into: &frames)
    if frames.isEmpty { return }
    metrics.add(.streamResetsSent, at: UInt8(code.rawValue))
    writeFrames(to: stream.connection)
  }

  mutating func releaseHTTP2Stream(_ stream: StreamID, _ codec: Handle) {
    frames.removeAll()
    http2Sessions[codec].connection.release(stream.stream, workspace: &http2, into: &frames)
    writeFrames(to: stream.connection)
    http2Sessions[codec].dropRest(of: stream.stream)
    if !http2Sessions[codec].lingering.isEmpty {
      http2Sessions[codec].lingering[stream.stream] = nil
    }
    if http2Sessions[codec].connection.streamCount == 0 {
      http2Sessions[codec].idleSince = now
      http2Sessions[codec].isSettled = false
    }
    queueToFlush(stream.connection)
  }

  // MARK: Slow clients

  mutating func http2Flushed(_ handle: Handle, _ codec: Handle, hasSent: Bool) {
    if connections[handle].transport.sendFailure != nil { return close(handle) }
    if hasSent { http2Sessions[codec].takenAt = now }
    settleHTTP2(handle, codec)
    guard connections.contains(handle), connections[handle].transport.isFlushed,
      case .http2Client = connections[handle].wire
    else { return }
    if http2Sessions[codec].connection.hasTurn || !http2Sessions[codec].waitingHeads.isEmpty
      || connections[handle].transport.mayHoldMore
    {
      queueToDrive(handle)
    }
  }

  /// A client that takes its responses slowly but steadily is not stalled: what the socket took
  /// last is progress for every response that waits for its turn. A response that waits for its
  /// window has none.
  mutating func noteTaking(_ handle: Handle) {
    let client = exchanges[handle].client
    guard exchanges[handle].response.isBlocked,
      case .http2Client(let codec) = connections[client.connection].wire,
      http2Sessions[codec].connection.room(on: client.stream) > 0
    else { return }
    exchanges[handle].machine.progressed(at: http2Sessions[codec].takenAt)
  }

  /// While something waits for the client, its pace is checked once in each grace time.
  mutating func watchHTTP2Taking(_ handle: Handle, _ codec: Handle) {
    guard let rate = settings.minimumRate else { return }
    let isWaiting =
      connections[handle].transport.isBlocked
      || http2Sessions[codec].connection.waitingStreamCount > 0
    let isWatched = http2Sessions[codec].checksAt != .never
    if isWaiting == isWatched { return }
    http2Sessions[codec].checksAt = isWaiting ? now + rate.grace : .never
    connections[handle].acknowledgedByteCount = nil
  }

  /// False when the connection was closed, because its client doesn't take what it was sent.
  mutating func checkHTTP2Taking(_ handle: Handle, _ codec: Handle) -> Bool {
    http2Sessions[codec].checksAt = .never
    guard let rate = settings.minimumRate else { return true }
    if connections[handle].transport.isBlocked {
      let taken = acknowledgedByteCount(of: handle)
      if let before = connections[handle].acknowledgedByteCount,
        taken < before + rate.bytesPerGrace
      {
        metrics.add(.slowResponses)
        close(handle, reset: true)
        return false
      }
      http2Sessions[codec].takenAt = now
      connections[handle].acknowledgedByteCount = taken
      http2Sessions[codec].checksAt = now + rate.grace
      return true
    }
    connections[handle].acknowledgedByteCount = nil
    checkWindows(handle, codec, rate)
    return true
  }

  /// Ends the streams whose client opens their windows too slowly.
  private mutating func checkWindows(_ handle: Handle, _ codec: Handle, _ rate: MinimumRate) {
    var slot: UInt16 = 0
    while slot < http2Sessions[codec].connection.slotCount {
      defer { slot += 1 }
      guard let stream = http2Sessions[codec].connection.stream(at: slot) else { continue }
      guard let exchange = http2Sessions[codec].exchange(of: stream), exchanges.contains(exchange)
      else {
        checkRest(StreamID(connection: handle, stream: stream), codec, rate)
        continue
      }
      guard exchanges[exchange].response.isBlocked, !isPatient(exchange) else {
        exchanges[exchange].response.checkedByteCount = nil
        continue
      }
      let count = exchanges[exchange].response.byteCount
      let before = exchanges[exchange].response.checkedByteCount
      exchanges[exchange].response.checkedByteCount = count
      if let before, count < before + rate.bytesPerGrace {
        metrics.add(.slowResponses)
        perform(exchanges[exchange].machine.handle(.refused(.clientStalled), at: now), exchange)
      }
    }
  }

  /// The same for an answer whose exchange has ended.
  private mutating func checkRest(_ stream: StreamID, _ codec: Handle, _ rate: MinimumRate) {
    guard let rest = http2Sessions[codec].checkRest(of: stream.stream) else { return }
    if let before = rest.before, UInt64(rest.sent - before) < rate.bytesPerGrace {
      metrics.add(.slowResponses)
      resetHTTP2Stream(stream, codec, .cancel)
      releaseHTTP2Stream(stream, codec)
    }
  }
}
