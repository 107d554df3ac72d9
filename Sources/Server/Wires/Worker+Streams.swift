// What every wire does for a stream: lend the pieces of a body, and write pieces and an end.
//
// The switches over the wires are here, so that exchanges and the pump don't know which one they
// use.

import HTTP
import HTTP1
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

  // MARK: Receiving

  /// The next piece of the stream's body, of at most `limit` bytes. It is `skip` bytes into
  /// `transport.inbound`; the caller consumes skip + count bytes when it has taken the piece.
  mutating func nextPiece(_ handle: Handle, limit: Int) throws(HTTP1Error) -> BodyStep {
    switch connections[handle].wire {
    case .http1Client(let codec, _):
      return try http1Clients[codec].nextPiece(
        in: connections[handle].transport.inbound, limit: limit, trailers: &trailers)
    case .http1Backend(let codec, _):
      return try http1Backends[codec].nextPiece(
        in: connections[handle].transport.inbound, limit: limit, trailers: &trailers)
    case .raw:
      let count = min(limit, connections[handle].transport.inbound.count)
      return count > 0 ? .piece(skip: 0, count: count) : .needsInput(consumed: 0)
    case .opening, .ending:
      preconditionFailure("no stream")
    }
  }

  // MARK: Sending

  /// How the body of the message that is being written is delimited.
  private mutating func outgoing(_ handle: Handle) -> BodyFraming {
    switch connections[handle].wire {
    case .http1Client(let codec, _): http1Clients[codec].outgoing
    case .http1Backend(let codec, _): http1Backends[codec].outgoing
    case .raw, .opening, .ending: .none
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
  mutating func room(_ handle: Handle) -> (room: Int, isEnough: Bool) {
    let room = connections[handle].transport.room
    switch connections[handle].wire {
    case .raw: return (room, room > 0)
    case .http1Client, .http1Backend, .opening, .ending:
      let rest = room - BodyEncoder.overheadByteCount
      return (rest, rest >= Self.trailerRoom)
    }
  }

  static var trailerRoom: Int { 12 * 1024 }

  /// Writes bytes of one connection's transport as a piece of another's body.
  mutating func move(_ range: Range<Int>, from source: Handle, to sink: Handle) {
    // Two elements of one slab can't be accessed at once, so the buffer is taken out.
    var bytes = ByteBuffer()
    swap(&bytes, &connections[source].transport.inbound)
    write(bytes, range, to: sink)
    swap(&bytes, &connections[source].transport.inbound)
  }

  /// Writes a piece of the body.
  mutating func write(_ source: borrowing ByteBuffer, _ range: Range<Int>, to handle: Handle) {
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

  /// Ends the body with the worker's `trailers`. A message that isn't chunked can't have any.
  mutating func writeEndWithTrailers(to handle: Handle) {
    guard outgoing(handle) == .chunked else { return }
    scratch.removeAll()
    BodyEncoder(.chunked).end(trailers: trailers, into: &scratch)
    connections[handle].transport.write(scratch, &io, &buffers)
    queueToFlush(handle)
  }

  /// Ends a body without trailers.
  mutating func writeEnd(to handle: Handle) {
    guard outgoing(handle) == .chunked else { return }
    connections[handle].transport.write(("0\r\n\r\n" as StaticString).bytes, &io, &buffers)
    queueToFlush(handle)
  }
}
