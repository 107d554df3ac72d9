// What every wire does for a stream: lend the pieces of a body, write heads, pieces and an end, and
// end or cut the stream.
//
// Most switches over the wires are here, so that exchanges and the pump hardly know which one they
// use: Worker+Response still knows HTTP/1 backends, and Worker+Attempt how a lease ends.

import HTTP
import HTTP1
import HTTP2
import Primitives
import Reactor

extension Worker where IO: ~Copyable {
  /// The connection gets another wire. The codec of the former one is dropped.
  mutating func change(_ handle: Handle, to wire: Connection.Wire) {
    dropCodec(of: handle)
    connections[handle].wire = wire
  }

  /// Must be called before the connection is removed.
  mutating func dropCodec(of handle: Handle) {
    switch connections[handle].wire {
    case .http1Client(let codec, _): http1Clients.drop(codec)
    case .http2Client(let codec), .http2Backend(let codec): dropHTTP2(codec)
    case .http1Backend(let codec, _): http1Backends.drop(codec)
    case .opening, .raw, .ending: break
    }
  }

  /// The codec of a client's HTTP/1 connection; the connection must have that wire.
  mutating func http1Client(_ handle: Handle) -> Handle {
    guard case .http1Client(let codec, _) = connections[handle].wire else {
      preconditionFailure("another wire")
    }
    return codec
  }

  /// The codec of an HTTP/1 connection to a backend; the connection must have that wire.
  mutating func http1Backend(_ handle: Handle) -> Handle {
    guard case .http1Backend(let codec, _) = connections[handle].wire else {
      preconditionFailure("another wire")
    }
    return codec
  }

  // MARK: Streams

  /// The session of a connection with HTTP/2; nil for other wires.
  @inline(__always)
  mutating func session(of handle: Handle) -> Handle? {
    switch connections[handle].wire {
    case .http2Client(let codec), .http2Backend(let codec): codec
    case .http1Client, .http1Backend, .raw, .opening, .ending: nil
    }
  }

  /// Whether what arrives from this side of the exchange is kept by stream, and not in the
  /// transport.
  @inline(__always)
  mutating func isByStream(_ handle: Handle, _ direction: Direction) -> Bool {
    switch direction {
    case .request: exchanges[handle].client.stream != 0
    case .response: exchanges[handle].attempt.stream != 0
    }
  }

  /// The exchange has begun on the client's stream, or in HTTP/1: it will be forwarded.
  mutating func own(_ client: StreamID, by exchange: Handle) {
    switch connections[client.connection].wire {
    case .http1Client(let codec, _):
      connections[client.connection].wire = .http1Client(codec: codec, exchange: exchange)
      setDeadline(client.connection, .never)
    case .http2Client(let codec):
      http2Sessions[codec].connection.setOwner(exchange.packed, of: client.stream)
    case .opening, .http1Backend, .http2Backend, .raw, .ending:
      preconditionFailure("no stream of a client")
    }
  }

  /// The response is written. `clientMaySend`: the client did not expect the end, so more of this
  /// request, or another one, may be on its way.
  mutating func endStream(_ client: StreamID, persists: Bool, clientMaySend: Bool) {
    if client.stream != 0, case .http2Client(let codec) = connections[client.connection].wire {
      return endHTTP2Stream(client, codec)
    }
    continueClient(client.connection, persists: persists, clientMaySend: clientMaySend)
  }

  /// The response can't be completed, and the client must see this, unless it `isGone`.
  mutating func cutStream(_ client: StreamID, isGone: Bool) {
    if case .http2Client(let codec) = connections[client.connection].wire {
      return cutHTTP2Stream(client, codec, isGone: isGone)
    }
    cutClient(client.connection, isGone: isGone)
  }

  /// Lets the side from which bytes of this direction come be driven, later in this turn.
  mutating func queueSource(_ handle: Handle, _ direction: Direction) {
    switch direction {
    case .response:
      guard let backend = backend(of: handle) else { return }
      if case .http2Backend(let codec) = connections[backend].wire {
        queueResponse(handle, codec)
      }
      queueToDrive(backend)
    case .request:
      let client = exchanges[handle].client.connection
      if case .http2Client(let codec) = connections[client].wire {
        queueRequest(handle, codec)
      }
      queueToDrive(client)
    }
  }

  // MARK: Receiving

  /// The next piece of a body, of at most `limit` bytes. It is `skip` bytes into the bytes that
  /// `lend` returns. The caller consumes what it has taken.
  mutating func nextPiece(
    _ handle: Handle, from source: Handle, limit: Int
  ) throws(HTTP1Error) -> BodyStep {
    switch connections[source].wire {
    case .http1Client(let codec, _):
      if trailers.count > 0 { trailers.reset() }
      return try http1Clients[codec].nextPiece(
        in: connections[source].transport.inbound, limit: limit, trailers: &trailers)
    case .http2Client:
      trailers.reset()
      return exchanges[handle].body.arrived.nextPiece(limit: limit)
    case .http2Backend:
      let step = exchanges[handle].response.arrived.nextPiece(limit: limit)
      if case .end = step { takeKeptTrailers(handle) }
      return step
    case .http1Backend(let codec, _):
      // Only the end of a chunked body writes them.
      if trailers.count > 0 { trailers.reset() }
      return try http1Backends[codec].nextPiece(
        in: connections[source].transport.inbound, limit: limit, trailers: &trailers)
    case .raw:
      let count = min(limit, connections[source].transport.inbound.count)
      return count > 0 ? .piece(skip: 0, count: count) : .needsInput(consumed: 0)
    case .opening, .ending:
      preconditionFailure("no stream")
    }
  }

  /// Whether a piece of a body is the next that comes from this source, and is there.
  mutating func hasPiece(
    _ handle: Handle, _ direction: Direction, _ source: Handle
  ) -> Bool {
    let transform = transform(handle, direction)
    if transform != .none { return !transforms[transform].output.isEmpty }
    return switch connections[source].wire {
    case .http1Backend(let codec, _):
      http1Backends[codec].hasPiece(in: connections[source].transport.inbound)
    case .http2Backend: !exchanges[handle].response.arrived.bytes.isEmpty
    case .http1Client(let codec, _):
      http1Clients[codec].hasPiece(in: connections[source].transport.inbound)
    case .http2Client: !exchanges[handle].body.arrived.bytes.isEmpty
    case .raw: !connections[source].transport.inbound.isEmpty
    case .opening, .ending: false
    }
  }

  /// Takes the received bytes out, since elements of a slab can't be lent beside each other. They
  /// must be given back before anything else happens to the source.
  mutating func lend(
    _ handle: Handle, _ direction: Direction, from source: Handle
  ) -> ByteBuffer {
    let transform = transform(handle, direction)
    if transform == .none { return lendReceived(handle, direction, from: source) }
    var bytes = ByteBuffer()
    swap(&bytes, &transforms[transform].output)
    return bytes
  }

  /// The same for bytes before a stage transforms them.
  mutating func lendReceived(
    _ handle: Handle, _ direction: Direction, from source: Handle
  ) -> ByteBuffer {
    var bytes = ByteBuffer()
    if !isByStream(handle, direction) {
      swap(&bytes, &connections[source].transport.inbound)
    } else if direction == .request {
      swap(&bytes, &exchanges[handle].body.arrived.bytes)
    } else {
      swap(&bytes, &exchanges[handle].response.arrived.bytes)
    }
    return bytes
  }

  mutating func giveBack(
    _ bytes: consuming ByteBuffer, _ handle: Handle, _ direction: Direction, to source: Handle,
    consumed count: Int
  ) {
    let transform = transform(handle, direction)
    if transform == .none {
      return giveBackReceived(bytes, handle, direction, to: source, consumed: count)
    }
    bytes.consume(count)
    swap(&bytes, &transforms[transform].output)
    buffers.settle(&transforms[transform].output)
  }

  mutating func giveBackReceived(
    _ bytes: consuming ByteBuffer, _ handle: Handle, _ direction: Direction, to source: Handle,
    consumed count: Int
  ) {
    bytes.consume(count)
    if !isByStream(handle, direction) {
      swap(&bytes, &connections[source].transport.inbound)
    } else if direction == .request {
      swap(&bytes, &exchanges[handle].body.arrived.bytes)
      buffers.settle(&exchanges[handle].body.arrived.bytes)
      credit(count, exchanges[handle].client)
    } else {
      swap(&bytes, &exchanges[handle].response.arrived.bytes)
      buffers.settle(&exchanges[handle].response.arrived.bytes)
      credit(count, StreamID(connection: source, stream: exchanges[handle].attempt.stream))
    }
  }

  // MARK: Sending heads

  /// Writes the head of a final response, which is in `responseHead`. Returns a reason if the
  /// client's wire can't carry it. It appends to `scratch`.
  mutating func writeHead(_ handle: Handle) -> StaticString? {
    let client = exchanges[handle].client
    switch connections[client.connection].wire {
    case .http1Client(let codec, _): writeHTTP1Head(handle, to: client.connection, codec)
    case .http2Client(let codec):
      return writeHTTP2Head(to: client, codec, body: exchanges[handle].response.length)
    case .opening, .http1Backend, .http2Backend, .raw, .ending: break
    }
    return nil
  }

  /// Writes the interim response in `responseHead`.
  mutating func writeInterimHead(to client: StreamID) {
    if case .http2Client(let codec) = connections[client.connection].wire {
      _ = writeHTTP2Head(to: client, codec, body: .none)
      return
    }
    scratch.removeAll()
    responseHead.encodeInterim(into: &scratch)
    connections[client.connection].transport.write(scratch, &io, &buffers)
    queueToFlush(client.connection)
  }

  /// Writes the head in `responseHead`, which says that the protocol is switched. HTTP/2 has no 101
  /// (RFC 8441 5). Returns a reason if the client's wire can't carry it.
  mutating func writeSwitch(to client: StreamID, protocol token: Span<UInt8>) -> StaticString? {
    if case .http2Client(let codec) = connections[client.connection].wire {
      responseHead.status = 200
      responseHead.fields.removeAll(named: ("Sec-WebSocket-Accept" as StaticString).bytes)
      return writeHTTP2Head(to: client, codec, body: .streamed)
    }
    scratch.removeAll()
    responseHead.fields.append(.upgrade, token)
    responseHead.encode(for: .http11, body: .none, connection: .upgrade, into: &scratch)
    connections[client.connection].transport.write(scratch, &io, &buffers)
    queueToFlush(client.connection)
    return nil
  }

  // MARK: Sending bodies

  /// How the body of the message that is being written is delimited.
  private mutating func outgoing(_ handle: Handle) -> BodyFraming {
    switch connections[handle].wire {
    case .http1Client(let codec, _): http1Clients[codec].outgoing
    case .http1Backend(let codec, _): http1Backends[codec].outgoing
    case .http2Client, .http2Backend, .raw, .opening, .ending: .none
    }
  }

  /// Whether the end of the connection alone shows the peer that the message is incomplete.
  mutating func showsTruncation(_ handle: Handle) -> Bool {
    switch outgoing(handle) {
    case .length, .chunked: true
    case .none, .untilClose: false
    }
  }

  /// How many bytes of a body may be written now, and whether that is enough. Less waits: in HTTP/1
  /// a trailer section of 8 KiB is decoded in one piece, and must fit behind what is written.
  mutating func room(_ stream: StreamID) -> (room: Int, isEnough: Bool) {
    let room = connections[stream.connection].transport.room
    switch connections[stream.connection].wire {
    case .raw: return (room, room > 0)
    case .http2Client(let codec), .http2Backend(let codec):
      return http2Room(stream, codec, room)
    case .http1Client, .http1Backend, .opening, .ending:
      let rest = room - BodyEncoder.overheadByteCount
      return (rest, rest >= Self.trailerRoom)
    }
  }

  static var trailerRoom: Int { 12 * 1024 }

  /// A response waits until its client's stream has room.
  mutating func awaitRoom(_ handle: Handle) {
    exchanges[handle].response.isBlocked = true
    let client = exchanges[handle].client
    if case .http2Client(let codec) = connections[client.connection].wire {
      awaitHTTP2Room(client, codec)
    }
  }

  /// A request waits until the backend's stream has room. In HTTP/1, each flush of the backend's
  /// connection drives the request.
  mutating func awaitRequestRoom(_ handle: Handle) {
    guard let backend = backend(of: handle),
      case .http2Backend(let codec) = connections[backend].wire
    else { return }
    exchanges[handle].body.isBlocked = true
    awaitHTTP2Room(
      StreamID(connection: backend, stream: exchanges[handle].attempt.stream), codec)
  }

  /// The same for the head of a response.
  mutating func awaitRoomForHead(_ handle: Handle) {
    if exchanges[handle].response.isBlocked { return }
    exchanges[handle].response.isBlocked = true
    let client = exchanges[handle].client.connection
    if case .http2Client(let codec) = connections[client].wire {
      http2Sessions[codec].waitingHeads.append(handle)
    }
  }

  /// Whether trailers that came by HTTP/2 must wait. They may be as large as a head.
  mutating func awaitsRoomForTrailers(_ handle: Handle) -> Bool {
    let client = exchanges[handle].client.connection
    if exchanges[handle].response.hasNoTrailers
      || connections[client].transport.room >= Self.headRoom
    {
      return false
    }
    // Room will do, and no window: it is not a turn that they wait for.
    awaitNoRoom(handle)
    awaitRoomForHead(handle)
    return true
  }

  /// The backend has no more bytes now, so the response doesn't wait for its client.
  mutating func awaitNoRoom(_ handle: Handle) {
    guard exchanges[handle].response.isBlocked else { return }
    let client = exchanges[handle].client
    guard case .http2Client(let codec) = connections[client.connection].wire else { return }
    exchanges[handle].response.isBlocked = false
    http2Sessions[codec].connection.setWantsToSend(false, on: client.stream)
  }

  /// Whether the response waits for its client, and not for its backend.
  mutating func awaitsClient(_ handle: Handle) -> Bool {
    if exchanges[handle].client.stream != 0 { return exchanges[handle].response.isBlocked }
    return !connections[exchanges[handle].client.connection].transport.isFlushed
  }

  /// Writes a piece of the body; with `ends`, the last one of a body whose length was stated.
  mutating func write(
    _ source: borrowing ByteBuffer, _ range: Range<Int>, to stream: StreamID, ends: Bool = false
  ) {
    let handle = stream.connection
    if stream.stream != 0, let codec = session(of: handle) {
      return writeHTTP2Piece(source, range, to: stream, codec, ends: ends)
    }
    queueToFlush(handle)
    guard outgoing(handle) == .chunked else {
      return connections[handle].transport.write(source, range, &io, &buffers)
    }
    let encoder = BodyEncoder(.chunked)
    scratch.removeAll()
    encoder.beginPiece(count: range.count, into: &scratch)
    connections[handle].transport.write(scratch, &io, &buffers)
    connections[handle].transport.write(source, range, &io, &buffers)
    scratch.removeAll()
    encoder.endPiece(count: range.count, into: &scratch)
    connections[handle].transport.write(scratch, &io, &buffers)
  }

  /// Writes the whole body of an answer, which is in `scratch`. `shared` is the same bytes, if they
  /// are in the configuration too.
  mutating func writeWhole(_ range: Range<Int>, to client: StreamID, shared: [UInt8]?) {
    if case .http2Client(let codec) = connections[client.connection].wire {
      return writeHTTP2Whole(range, to: client, codec, shared: shared)
    }
    connections[client.connection].transport.write(scratch, range, &io, &buffers)
  }

  /// Ends the body with the worker's `trailers`. In HTTP/1, a message that isn't chunked can't have
  /// any.
  mutating func writeEndWithTrailers(to stream: StreamID) {
    let handle = stream.connection
    if stream.stream != 0, let codec = session(of: handle) {
      return writeHTTP2End(to: stream, codec)
    }
    guard outgoing(handle) == .chunked else { return }
    scratch.removeAll()
    BodyEncoder(.chunked).end(trailers: trailers, into: &scratch)
    connections[handle].transport.write(scratch, &io, &buffers)
    queueToFlush(handle)
  }

  /// Ends a body without trailers.
  mutating func writeEnd(to stream: StreamID) {
    let handle = stream.connection
    if stream.stream != 0, let codec = session(of: handle) {
      trailers.reset()
      return writeHTTP2End(to: stream, codec)
    }
    guard outgoing(handle) == .chunked else { return }
    connections[handle].transport.write(("0\r\n\r\n" as StaticString).bytes, &io, &buffers)
    queueToFlush(handle)
  }
}
