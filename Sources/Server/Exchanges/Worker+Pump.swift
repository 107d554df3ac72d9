// The one loop that moves bytes of an exchange, in either direction: of bodies, and of relays.
//
// Credit is the room at the receiving side. What finds no room stays at the sending side: in its
// transport, then in its socket, and so at the peer; in HTTP/2 in the exchange, within the stream's
// window. A slow peer costs two buffers and no more.

import HTTP
import HTTP1
import Primitives
import Proxy
import Reactor

/// Which way bytes move.
enum Direction {
  /// From the client to the backend.
  case request
  /// From the backend to the client.
  case response
}

/// Why the pump has stopped.
enum PumpStop {
  /// It continues later: the source has nothing more now, or the receiving side has no room, or
  /// other connections come first. The deadline of the exchange is set for that.
  case paused
  /// The message is complete. Its trailers are in the worker's `trailers`.
  case ended
  /// The source's peer has finished sending.
  case finished
  /// The source's connection failed.
  case failed
  /// The framing of the body is invalid.
  case malformed(HTTP1Error)
  /// A piece has ended the exchange, or begun an attempt.
  case interrupted
}

extension Worker where IO: ~Copyable {
  /// Pieces that are moved before it is the turn of other connections: a block of one-byte chunks
  /// has ten thousand.
  private static var piecesPerDrive: Int { 128 }

  /// Moves what is there, and receives one more block.
  mutating func pump(_ handle: Handle, _ direction: Direction, from source: Handle) -> PumpStop {
    let stop = moveAll(handle, direction, from: source)
    if case .paused = stop { updateDeadline(handle) }
    return stop
  }

  private mutating func moveAll(
    _ handle: Handle, _ direction: Direction, from source: Handle
  ) -> PumpStop {
    let isTransformed = transform(handle, direction) != .none
    var hasReceived = false
    var pieceCount = 0
    while true {
      let (room, isEnough) = room(handle, direction)
      // A stream of HTTP/2 waits for room only if there is a piece. Its end needs no window, and no
      // room unless it has trailers.
      if !isEnough {
        guard isToStream(handle, direction) && !hasPiece(handle, direction, source) else {
          if direction == .request { awaitRequestRoom(handle) } else { awaitRoom(handle) }
          return .paused
        }
        if direction == .response && awaitsRoomForTrailers(handle) { return .paused }
      }
      let step: BodyStep
      do throws(HTTP1Error) {
        let limit = isEnough ? room : .max
        if isTransformed {
          switch try nextTransformed(handle, direction, from: source, limit: limit) {
          case .step(let next): step = next
          case .tookInput:
            pieceCount += 1
            if pieceCount < Self.piecesPerDrive { continue }
            queueSource(handle, direction)
            return .paused
          case .malformed(let reason):
            refuseTransformed(handle, direction, reason)
            return .interrupted
          }
        } else {
          step = try nextPiece(handle, from: source, limit: limit)
        }
      } catch {
        return .malformed(error)
      }
      switch step {
      case .piece(let skip, let count):
        let range = skip..<(skip + count)
        let continues =
          switch direction {
          case .request: takeRequestPiece(handle, from: source, range)
          case .response: takeResponsePiece(handle, from: source, range)
          }
        if !continues { return .interrupted }
        pieceCount += 1
        if pieceCount == Self.piecesPerDrive {
          queueSource(handle, direction)
          return .paused
        }
      case .needsInput(let consumed):
        if isByStream(handle, direction) {
          if direction == .response { awaitNoRoom(handle) }
          return .paused
        }
        connections[source].transport.inbound.consume(consumed)
        // One block, then the other connections, however fast both peers are.
        if hasReceived && connections[source].transport.mayHoldMore {
          queueToDrive(source)
          return .paused
        }
        switch receive(source) {
        case .bytes:
          hasReceived = true
          // A part of the framing is progress too, such as the line with a chunk's size. A client's
          // framing is not: its pace counts bytes of the body.
          if direction == .response { exchanges[handle].machine.progressed(at: now) }
        case .nothing:
          connections[source].transport.settle(&buffers)
          if direction == .response { awaitNoRoom(handle) }
          return .paused
        case .finished: return .finished
        case .failed: return .failed
        }
      case .end(let consumed):
        if consumed > 0 { connections[source].transport.inbound.consume(consumed) }
        return .ended
      }
    }
  }

  /// Whether the receiving side speaks HTTP/2.
  private mutating func isToStream(_ handle: Handle, _ direction: Direction) -> Bool {
    direction == .request
      ? exchanges[handle].attempt.stream != 0 : exchanges[handle].client.stream != 0
  }

  /// How many bytes the receiving side can take, and whether that is enough for a step.
  private mutating func room(
    _ handle: Handle, _ direction: Direction
  ) -> (room: Int, isEnough: Bool) {
    switch direction {
    case .response:
      return room(exchanges[handle].client)
    case .request:
      if exchanges[handle].isOpen, let backend = backend(of: handle) {
        // What is kept goes first.
        if exchanges[handle].body.givenByteCount < exchanges[handle].body.byteCount {
          return (0, false)
        }
        return room(
          StreamID(connection: backend, stream: exchanges[handle].attempt.stream))
      }
      // While a stage waits, so does the body: a later stage may transform it.
      if case .staging = exchanges[handle].machine.phase { return (0, false) }
      guard exchanges[handle].body.keepsAll else { return (0, false) }
      let room = exchanges[handle].pool.replayByteCount - exchanges[handle].body.kept.count
      return (room, room >= 1)
    }
  }
}
