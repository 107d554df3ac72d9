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

  /// The backend has accepted: its head is in `responseHead`.
  mutating func openTunnel(_ handle: Handle) {
    let client = exchanges[handle].client
    let asked = heads[exchanges[handle].head].fields.array(exchanges[handle].request.upgrade)
    edit(exchanges[handle].stages.switching, of: handle)
    responseHead.fields.removeAll(of: .contentLength)
    if client.stream == 0 {
      responseHead.status = 101
      acceptWebSocket(handle)
    }
    let status = writeSwitch(to: client, protocol: asked.span)
    exchanges[handle].response.status = status
    countResponse(status: status)
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
  return base64(digest.indices.map { digest[$0] })
}

/// RFC 4648 4.
func base64(_ bytes: [UInt8]) -> [UInt8] {
  let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  var text: [UInt8] = []
  for start in stride(from: 0, to: bytes.count, by: 3) {
    let group = bytes[start..<min(start + 3, bytes.count)]
    var bits: UInt32 = 0
    for byte in group { bits = bits << 8 | UInt32(byte) }
    bits <<= UInt32(8 * (3 - group.count))
    for place in 0..<4 {
      let isPadding = place > group.count
      text.append(isPadding ? 0x3D : alphabet.bytes[Int(bits >> UInt32(18 - 6 * place)) & 63])
    }
  }
  return text
}
