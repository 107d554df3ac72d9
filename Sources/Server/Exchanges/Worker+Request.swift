// The body of a request, on its way to the backend: it is streamed, and kept for another attempt as
// long as it fits into the replay buffer.

import HTTP
import HTTP1
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// Moves what it can of the request; true when the client's connection has more to do at once.
  mutating func driveRequest(_ handle: Handle) -> Bool {
    let client = exchanges[handle].client.connection
    if exchanges[handle].machine.isRequestComplete {
      giveEnd(handle)
      return exchanges[handle].client.stream == 0 && watchForAbort(handle, client)
    }
    giveKept(handle)
    switch pump(handle, .request, from: client) {
    case .paused:
      return false
    case .ended:
      requestEnded(handle)
    case .finished, .failed:
      clientGone(handle)
    case .malformed(let error):
      countRefusal(error)
      exchanges[handle].malformation = error.name
      perform(exchanges[handle].machine.handle(.refused(.malformedBody), at: now), handle)
    case .interrupted:
      break
    }
    return true
  }

  /// Takes a piece of the body from the client's transport; false when the exchange has ended, or
  /// has begun an attempt.
  mutating func takeRequestPiece(
    _ handle: Handle, from client: Handle, _ range: Range<Int>
  ) -> Bool {
    let count = UInt64(range.count)
    exchanges[handle].body.byteCount += count
    if case .relaying = exchanges[handle].machine.phase {
      guard let backend = backend(of: handle) else { return false }
      let bytes = lend(handle, .request, from: client)
      writeRequest(handle, bytes, range, to: backend)
      giveBack(bytes, handle, .request, to: client, consumed: range.upperBound)
    } else {
      if exchanges[handle].body.byteCount > snapshot(of: handle).settings.bodyByteCountMax {
        perform(exchanges[handle].machine.handle(.refused(.bodyTooLarge), at: now), handle)
        return false
      }
      let bytes = lend(handle, .request, from: client)
      if exchanges[handle].isOpen, let backend = backend(of: handle) {
        writeRequest(handle, bytes, range, to: backend)
        // A request that may not be sent twice needs no replay once the socket took some of it. In
        // HTTP/2 the backend may still say that it has not processed it (RFC 9113 8.7).
        if !exchanges[handle].machine.isIdempotent && takenByteCount(handle) > 0
          && exchanges[handle].attempt.stream == 0 && !keepsCall(handle)
        {
          dropKept(handle)
        }
      }
      keep(handle, bytes, range)
      giveBack(bytes, handle, .request, to: client, consumed: range.upperBound)
    }
    exchanges[handle].machine.progressed(at: now)
    if isTooLongToCollect(handle) {
      perform(exchanges[handle].machine.handle(.collectingEnded, at: now), handle)
      return false
    }
    return true
  }

  /// Whether more of a chunked body has arrived than is collected.
  private mutating func isTooLongToCollect(_ handle: Handle) -> Bool {
    guard case .collecting = exchanges[handle].machine.phase,
      exchanges[handle].body.length == .streamed
    else { return false }
    let max = Self.chunkedCollectMax(snapshot(of: handle).settings, exchanges[handle].pool)
    return exchanges[handle].body.byteCount > max
  }

  // MARK: Replay

  /// Keeps a piece for another attempt while the whole body so far fits.
  private mutating func keep(
    _ handle: Handle, _ bytes: borrowing ByteBuffer, _ range: Range<Int>
  ) {
    guard exchanges[handle].body.keepsAll else { return }
    let limit = exchanges[handle].pool.replayByteCount
    let count = exchanges[handle].body.kept.count + range.count
    if count > limit { return dropKept(handle) }
    if !exchanges[handle].body.kept.hasStorage {
      exchanges[handle].body.kept = buffers.takeSmall()
    }
    if count > exchanges[handle].body.kept.capacity {
      buffers.enlarge(&exchanges[handle].body.kept)
    }
    exchanges[handle].body.kept.append(bytes, range)
  }

  /// The body can't be sent again from now on.
  mutating func dropKept(_ handle: Handle) {
    exchanges[handle].body.keepsAll = false
    // The attempt still needs what it has not been given yet.
    if exchanges[handle].body.givenByteCount < exchanges[handle].body.byteCount { return }
    exchanges[handle].body.kept.removeAll()
    buffers.settle(&exchanges[handle].body.kept)
  }

  /// Gives the attempt what was kept before it was open.
  private mutating func giveKept(_ handle: Handle) {
    guard exchanges[handle].isOpen, let backend = backend(of: handle) else { return }
    let given = Int(exchanges[handle].body.givenByteCount)
    // Nothing is kept, or all of it was given and later pieces were written directly.
    if given >= exchanges[handle].body.kept.count { return }
    let stream = StreamID(connection: backend, stream: exchanges[handle].attempt.stream)
    let count = min(room(stream).room, exchanges[handle].body.kept.count - given)
    if count <= 0 { return awaitRequestRoom(handle) }
    var kept = ByteBuffer()
    swap(&kept, &exchanges[handle].body.kept)
    writeRequest(handle, kept, given..<(given + count), to: backend)
    swap(&kept, &exchanges[handle].body.kept)
    if given + count < exchanges[handle].body.kept.count { awaitRequestRoom(handle) }
  }

  /// Gives a piece to the attempt.
  private mutating func writeRequest(
    _ handle: Handle, _ bytes: borrowing ByteBuffer, _ range: Range<Int>, to backend: Handle
  ) {
    exchanges[handle].body.givenByteCount += UInt64(range.count)
    let ends = exchanges[handle].body.hasGivenAll(byStream: exchanges[handle].client.stream != 0)
    let stream = StreamID(connection: backend, stream: exchanges[handle].attempt.stream)
    write(bytes, range, to: stream, ends: ends)
  }

  // MARK: End

  private mutating func requestEnded(_ handle: Handle) {
    keepTrailers(handle)
    if case .collecting = exchanges[handle].machine.phase,
      exchanges[handle].body.length == .streamed, exchanges[handle].body.hasNoTrailers
    {
      // A chunked body that was collected completely gets a length: many servers can't read
      // chunks, such as those for WSGI. That would lose trailers, so a body with any stays chunked.
      exchanges[handle].body.length = .known(exchanges[handle].body.byteCount)
    }
    let action = exchanges[handle].machine.handle(.requestEnded, at: now)
    // Does nothing if the request was collected: there is no attempt yet.
    giveEnd(handle)
    perform(action, handle)
  }

  /// Keeps the trailers for all attempts. Hardly any request has some. Behind a body of a stated
  /// length, HTTP/1 has no place for them.
  mutating func keepTrailers(_ handle: Handle) {
    guard trailers.count > 0, exchanges[handle].request.keepsTrailers,
      exchanges[handle].body.length == .streamed
        || exchanges[handle].target?.pool.protocol != .http1
    else { return }
    editRequestTrailers(of: handle)
    keepTrailersAgain(handle)
  }

  /// Whether trailers may follow a body of a stated length: if neither side has HTTP/1.
  private mutating func mayHaveTrailers(_ handle: Handle) -> Bool {
    !exchanges[handle].body.length.isEmpty && exchanges[handle].attempt.stream != 0
      && exchanges[handle].client.stream != 0
  }

  private mutating func keepTrailersAgain(_ handle: Handle) {
    var kept = FieldBlock()
    swap(&kept, &trailers)
    exchanges[handle].body.trailers = consume kept
  }

  /// Ends the request at the backend once the whole body was given.
  mutating func giveEnd(_ handle: Handle) {
    guard exchanges[handle].isOpen, !exchanges[handle].body.isEndGiven,
      exchanges[handle].machine.isRequestComplete
    else { return }
    giveKept(handle)
    guard exchanges[handle].body.givenByteCount == exchanges[handle].body.byteCount,
      let backend = backend(of: handle)
    else { return }
    exchanges[handle].body.isEndGiven = true
    let stream = StreamID(connection: backend, stream: exchanges[handle].attempt.stream)
    if exchanges[handle].body.length != .streamed && !mayHaveTrailers(handle) { return }
    if let kept = exchanges[handle].body.trailers.take() {
      trailers = kept
      writeEndWithTrailers(to: stream)
      keepTrailersAgain(handle)
    } else {
      writeEnd(to: stream)
    }
  }

  /// The request is complete; the client may still disconnect, or already send the next one.
  private mutating func watchForAbort(_ handle: Handle, _ client: Handle) -> Bool {
    // Only an end matters here; bytes stay where they are until their turn.
    guard connections[client].transport.peerFinished || connections[client].transport.isBroken,
      connections[client].transport.inbound.isEmpty
    else { return false }
    switch receive(client) {
    case .bytes, .nothing: return false
    case .finished where answersHalfClosed(client):
      exchanges[handle].body.clientHasFinished = true
      exchanges[handle].response.persists = false
      return false
    case .finished, .failed:
      clientGone(handle)
      return connections.contains(client)
    }
  }

  /// Whether a client that has finished sending gets its response (docs/decisions/0006).
  private mutating func answersHalfClosed(_ client: Handle) -> Bool {
    guard let listener = listeners[connections[client].client.listener].configured else {
      return false
    }
    return snapshot.listeners[listener].answersHalfClosed
  }
}
