// Heads and trailers of responses that came by HTTP/2 and wait until their client has room.
//
// HTTP/1 leaves them in the socket. With HTTP/2 the connection must be read on for others, so they
// are kept, and what those of one client's connection take is limited.

import HTTP
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor

/// A head that waits, without spare memory.
struct KeptHead: ~Copyable {
  var head = ResponseHead()
  let body: BodyLength
  let byteCount: Int

  init(_ source: borrowing ResponseHead, _ body: BodyLength) {
    head.version = source.version
    head.status = source.status
    head.fields = FieldBlock(copying: source.fields)
    self.body = body
    byteCount = head.fields.storedByteCount
  }
}

/// Trailers that wait for the end of their body.
struct KeptTrailers: ~Copyable {
  var fields: FieldBlock
  /// How much of the limit of the client's connection they use.
  var countedByteCount = 0
}

extension Worker where IO: ~Copyable {
  /// The head is in `responseHead`.
  mutating func keepHead(_ exchange: Handle, _ body: BodyLength) {
    let kept = KeptHead(responseHead, body)
    if let codec = session(of: exchanges[exchange].client.connection) {
      guard http2Sessions[codec].keep(kept.byteCount) else { return refuseStalled(exchange) }
    }
    exchanges[exchange].response.keptHead = keptHeads.insert(kept)
    awaitRoomForHead(exchange)
    updateDeadline(exchange)
  }

  /// The client takes nothing, and too much waits for it. If the head still waits, the response has
  /// not begun for the machine.
  private mutating func refuseStalled(_ exchange: Handle) {
    metrics.add(.slowResponses)
    if !exchanges[exchange].machine.hasAnswered {
      let kept = exchanges[exchange].response.keptHead
      let status = kept == .none ? responseHead.status : keptHeads[kept].head.status
      _ = exchanges[exchange].machine.handle(.head(status: status, retry: nil), at: now)
    }
    perform(exchanges[exchange].machine.handle(.refused(.clientStalled), at: now), exchange)
  }

  /// Forwards the head, if its client has room by now. False if not, or if the exchange has gone
  /// elsewhere.
  mutating func takeKeptHead(_ exchange: Handle) -> Bool {
    if exchanges[exchange].response.isBlocked { return false }
    let client = exchanges[exchange].client.connection
    guard connections[client].transport.room >= Self.headRoom else {
      awaitRoomForHead(exchange)
      return false
    }
    let body = keptHeads[exchanges[exchange].response.keptHead].body
    swap(&responseHead, &keptHeads[exchanges[exchange].response.keptHead].head)
    dropKeptHead(exchange)
    if isTunnelAccepted(exchange) {
      openTunnel(exchange)
      return false
    }
    return takeFinalHead(exchange, length: body, persists: true)
  }

  mutating func dropKeptHead(_ exchange: Handle) {
    let handle = exchanges[exchange].response.keptHead
    if handle == .none { return }
    exchanges[exchange].response.keptHead = .none
    let byteCount = keptHeads[handle].byteCount
    keptHeads.drop(handle)
    let client = exchanges[exchange].client.connection
    if connections.contains(client), let codec = session(of: client) {
      http2Sessions[codec].release(byteCount)
    }
  }

  // MARK: Trailers

  /// The response has ended with these trailers. Mostly, the client has them at once.
  mutating func takeBackendTrailers(_ exchange: Handle, _ fields: consuming FieldBlock) {
    exchanges[exchange].response.trailers = KeptTrailers(fields: fields)
    exchanges[exchange].response.arrived.hasEnded = true
    driveHTTP2Response(exchange)
    guard exchanges.contains(exchange), !exchanges[exchange].response.hasNoTrailers,
      let codec = session(of: exchanges[exchange].client.connection),
      let waiting = exchanges[exchange].response.trailers.take()
    else { return }
    var kept = KeptTrailers(fields: FieldBlock(copying: waiting.fields))
    kept.countedByteCount = kept.fields.storedByteCount
    guard http2Sessions[codec].keep(kept.countedByteCount) else { return refuseStalled(exchange) }
    exchanges[exchange].response.trailers = consume kept
  }

  /// Takes the trailers into `trailers`, which is empty if there are none.
  mutating func takeKeptTrailers(_ exchange: Handle) {
    guard let kept = exchanges[exchange].response.trailers.take() else { return trailers.reset() }
    releaseTrailers(exchange, kept.countedByteCount)
    trailers = kept.fields
  }

  mutating func dropKeptTrailers(_ exchange: Handle) {
    guard let kept = exchanges[exchange].response.trailers.take() else { return }
    releaseTrailers(exchange, kept.countedByteCount)
  }

  private mutating func releaseTrailers(_ exchange: Handle, _ byteCount: Int) {
    let client = exchanges[exchange].client.connection
    if byteCount > 0, connections.contains(client), let codec = session(of: client) {
      http2Sessions[codec].release(byteCount)
    }
  }
}
