// HTTP/1 connections to backends: reading the heads of responses, and the end of idle connections.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  mutating func driveHTTP1Backend(_ handle: Handle) {
    if let exchange = exchange(on: handle) {
      driveResponse(exchange)
    } else if connections[handle].transport.isReadable, !isQuiet(handle) {
      // An idle connection has nothing to send: bytes as well as an end close it.
      close(handle)
    }
  }

  /// Parses a response head into `responseHead`; false when more must come.
  mutating func parseResponseHead(_ handle: Handle) throws(HTTP1Error) -> Bool {
    let codec = http1Backend(handle)
    return try http1Backends[codec].parseHead(
      from: &connections[handle].transport.inbound, into: &responseHead)
  }

  /// Encodes the kept head for this connection, and notes how the body will be delimited. False
  /// when the attempt has failed.
  mutating func writeRequestHead(_ exchange: Handle, to handle: Handle) -> Bool {
    if case .http2Backend(let codec) = connections[handle].wire {
      return openBackendStream(exchange, on: handle, codec)
    }
    if !heads[exchanges[exchange].head].connectProtocol.isEmpty {
      heads[exchanges[exchange].head].fields.addWebSocketKey(using: &generator)
    }
    scratch.removeAll()
    let isUpgrade = !exchanges[exchange].request.upgrade.isEmpty
    let framing = heads[exchanges[exchange].head].encode(
      body: exchanges[exchange].body.length, connection: isUpgrade ? .upgrade : .keepAlive,
      into: &scratch)
    http1Backends[http1Backend(handle)].beginBody(framing)
    exchanges[exchange].machine.noteVersion(.http1)
    connections[handle].transport.write(scratch, &io, &buffers)
    return true
  }
}

extension FieldBlock {
  /// HTTP/1 wants a key that the backend echoes in a digest (RFC 6455 4.1); HTTP/2 has none (RFC
  /// 8441 5). Nothing depends on the value, so any random one will do.
  fileprivate mutating func addWebSocketKey(using generator: inout RandomGenerator) {
    let name = ("Sec-WebSocket-Key" as StaticString).bytes
    removeAll(named: name)
    // 16 bytes in base64: the last character before the padding has only two bits.
    let alphabet: StaticString =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    var key: [UInt8] = []
    for _ in 0..<21 { key.append(alphabet.bytes[generator.next(below: 64)]) }
    key.append(alphabet.bytes[16 * generator.next(below: 4)])
    key += [0x3D, 0x3D]
    add(nil, name: name, value: key.span, isNeverIndexed: false)
  }
}
