// HTTP/1 connections to backends: reading the heads of responses, and the end of idle connections.

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

  /// Encodes the kept head for this connection, and notes how the body will be delimited.
  mutating func writeRequestHead(_ exchange: Handle, to handle: Handle) {
    scratch.removeAll()
    let isUpgrade = !exchanges[exchange].request.upgrade.isEmpty
    let framing = heads[exchanges[exchange].head].encode(
      body: exchanges[exchange].body.length, connection: isUpgrade ? .upgrade : .keepAlive,
      into: &scratch)
    http1Backends[http1Backend(handle)].beginBody(framing)
    connections[handle].transport.write(scratch, &io, &buffers)
  }
}
