// Upgrades over HTTP/2 to a backend: extended CONNECT (RFC 8441), for clients with HTTP/2 and for
// those that ask with Upgrade in HTTP/1.1.
//
// The kept head stays as the client sent it, so that another attempt may use HTTP/1.1. After the
// response, the exchange is a relay like any other.

import HTTP
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  /// Whether the client asks for another protocol in a way that extended CONNECT can express:
  /// without a body.
  @inline(__always)
  mutating func asksForTunnel(_ handle: Handle) -> Bool {
    if exchanges[handle].request.upgrade.isEmpty { return false }
    let method = heads[exchanges[handle].head].method
    return method == .connect || method == .get && exchanges[handle].body.length.isEmpty
  }

  /// Whether the backend has accepted what the client asked for; its head is in `responseHead`.
  mutating func isTunnelAccepted(_ handle: Handle) -> Bool {
    responseHead.status < 300 && asksForTunnel(handle)
  }

  /// The backend has accepted. Like the head of any response, this one waits for room.
  mutating func openTunnel(_ handle: Handle) {
    let client = exchanges[handle].client
    if connections[client.connection].transport.room < Self.headRoom {
      return keepHead(handle, .streamed)
    }
    let asked = heads[exchanges[handle].head].fields.array(exchanges[handle].request.upgrade)
    edit(exchanges[handle].stages.switching, of: handle)
    responseHead.fields.removeAll(of: .contentLength)
    if client.stream == 0 {
      responseHead.status = 101
      acceptWebSocket(handle)
    }
    switchClient(handle, to: asked.span)
  }

  /// Tells the client that the protocol is switched, with the head in `responseHead`, and begins to
  /// relay. A client that doesn't take the head would wait for ever: the exchange fails then.
  mutating func switchClient(_ handle: Handle, to token: Span<UInt8>) {
    if let reason = writeSwitch(to: exchanges[handle].client, protocol: token) {
      return responseRefused(handle, reason: reason, blamesBackend: false)
    }
    exchanges[handle].response.status = responseHead.status
    countResponse(status: responseHead.status)
    startRelay(handle)
  }

  /// Answers the key of a client with HTTP/1.1, which the backend has not seen.
  private mutating func acceptWebSocket(_ handle: Handle) {
    responseHead.fields.removeAll(of: .secWebSocketAccept)
    let head = exchanges[handle].head
    guard let key = heads[head].fields.first(.secWebSocketKey) else { return }
    let accept = webSocketAccept(forKey: heads[head].fields.array(key))
    responseHead.fields.append(.secWebSocketAccept, accept.span)
  }
}

/// The digest that shows a client that the server knows WebSocket (RFC 6455 4.2.2).
func webSocketAccept(forKey key: [UInt8]) -> [UInt8] {
  let digest = sha1(key + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8))
  var text = ByteBuffer(capacity: 28)
  appendBase64(digest.span, to: &text)
  return text.array(0..<text.count)
}
