// Heads of responses that came by HTTP/2 and wait until their client has room.
//
// HTTP/1 leaves such a head in the socket. With HTTP/2 the connection must be read on for others,
// so the head is copied, and what the heads of one client's connection take is limited.

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
    for index in 0..<source.fields.count {
      let field = source.fields[index]
      head.fields.add(
        field.known, name: source.bytes(of: field.name), value: source.bytes(of: field.value),
        isNeverIndexed: field.isNeverIndexed)
    }
    self.body = body
    byteCount = head.fields.storedByteCount
  }
}

extension Worker where IO: ~Copyable {
  /// For one client's connection. h2o stops reading a client when as much waits for it.
  private static var keptByteMax: Int { 512 * 1024 }

  /// The head is in `responseHead`.
  mutating func keepHead(_ exchange: Handle, _ body: BodyLength) {
    let kept = KeptHead(responseHead, body)
    if let codec = session(of: exchanges[exchange].client.connection) {
      guard http2Sessions[codec].keptByteCount + kept.byteCount <= Self.keptByteMax else {
        return refuseStalled(exchange)
      }
      http2Sessions[codec].keptByteCount += kept.byteCount
    }
    exchanges[exchange].response.keptHead = keptHeads.insert(kept)
    awaitRoomForHead(exchange)
    updateDeadline(exchange)
  }

  /// The client takes nothing, and too much waits for it.
  private mutating func refuseStalled(_ exchange: Handle) {
    metrics.add(.slowResponses)
    _ = exchanges[exchange].machine.handle(
      .head(status: responseHead.status, retry: nil), at: now)
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
      http2Sessions[codec].keptByteCount -= byteCount
    }
  }
}
