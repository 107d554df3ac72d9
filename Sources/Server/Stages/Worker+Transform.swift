// Bodies that a stage transforms, between the wire that receives them and the pump.
//
// The pump sees the output as if it had been received. Input is taken only when no output waits, so
// that the sender gets credit no faster than the receiver takes. A transformed body has no length.

import HTTP
import HTTP1
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  /// The body of the request is transformed from its first byte on.
  mutating func transformRequest(_ handle: Handle, _ codec: BodyTransform.Codec) {
    exchanges[handle].body.length = .streamed
    exchanges[handle].body.transform = transforms.insert(BodyTransform(codec))
  }

  /// The same for the response in `responseHead`, before it is encoded.
  mutating func transformResponse(_ handle: Handle, _ codec: BodyTransform.Codec) {
    exchanges[handle].response.length = .streamed
    exchanges[handle].response.transform = transforms.insert(BodyTransform(codec))
  }

  /// `.none` for a body that goes on as it is.
  @inline(__always)
  mutating func transform(_ handle: Handle, _ direction: Direction) -> Handle {
    // Nearly always.
    if transforms.isEmpty { return .none }
    return switch direction {
    case .request: exchanges[handle].body.transform
    case .response: exchanges[handle].response.transform
    }
  }

  /// What comes after `nextPiece` for a transformed body.
  enum TransformStep {
    case step(BodyStep)
    /// Input was taken: ask again.
    case tookInput
    /// It could not be transformed.
    case malformed(StaticString)
  }

  mutating func nextTransformed(
    _ handle: Handle, _ direction: Direction, from source: Handle, limit: Int
  ) throws(HTTP1Error) -> TransformStep {
    let transform = transform(handle, direction)
    if let step = transforms[transform].nextPiece(limit: limit) {
      // Its trailers are in the body. Those of another exchange may be in the worker's buffer, if
      // this end had to wait.
      if case .end = step { trailers.reset() }
      return .step(step)
    }
    switch try nextPiece(handle, from: source, limit: BodyTransform.inputMax) {
    case .piece(let skip, let count):
      let range = skip..<(skip + count)
      let bytes = lendReceived(handle, direction, from: source)
      let isValid = transforms[transform].take(bytes, range, &buffers)
      giveBackReceived(bytes, handle, direction, to: source, consumed: range.upperBound)
      return isValid ? .tookInput : .malformed("bad-base64")
    case .needsInput(let consumed):
      return .step(.needsInput(consumed: consumed))
    case .end(let consumed):
      if consumed > 0 { connections[source].transport.inbound.consume(consumed) }
      if direction == .response { settleTrailers(handle) }
      let isValid = transforms[transform].end(trailers, &buffers)
      trailers.reset()
      return isValid ? .tookInput : .malformed("bad-base64")
    }
  }

  /// A body can't be transformed. Only a client's can be malformed.
  mutating func refuseTransformed(
    _ handle: Handle, _ direction: Direction, _ reason: StaticString
  ) {
    exchanges[handle].malformation = reason
    perform(exchanges[handle].machine.handle(.refused(.malformedBody), at: now), handle)
  }

  /// Frees what the transforms of an exchange hold.
  mutating func dropTransforms(_ handle: Handle) {
    for direction in [Direction.request, .response] {
      let transform = transform(handle, direction)
      if transform == .none { continue }
      transforms[transform].output.removeAll()
      buffers.settle(&transforms[transform].output)
      transforms.drop(transform)
    }
  }
}
