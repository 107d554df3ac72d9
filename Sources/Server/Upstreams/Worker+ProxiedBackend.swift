// Connections to backends that begin with a header of the PROXY protocol, or come from the client's
// address: the header, the address, and how such a connection is kept for the one client's
// connection that it belongs to.
//
// A client's HTTP/2 connection may have several of them, one for each request at the same time.

import Metrics
import Primitives
import Proxy
import ProxyProtocol
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  private static var idDigits: StaticString { "0123456789abcdef" }

  /// The connection to a backend is there: writes the header, if the pool has one.
  mutating func writeProxyHeader(_ handle: Handle, for exchange: Handle) {
    guard let plan = exchanges[exchange].pool.proxyHeader else { return }
    let client = exchanges[exchange].client.connection
    let peer = connections[client].client
    let source = peer.address.map { SocketAddress.ip($0, port: peer.port) }
    let destination =
      proxiedClients[client]?.destination
      ?? io.localAddress(of: connections[client].transport.socket)
    scratch.removeAll()
    let tlvs = tlvs(plan, of: client, exchange)
    plan.write(source: source, destination: destination, tlvs, into: &scratch)
    connections[handle].transport.writePreamble(scratch, &buffers)
    // Of the request nothing is sent yet, which is what retries ask about.
    exchanges[exchange].attempt.noteHandshake(sent: UInt64(scratch.count))
  }

  private mutating func tlvs(
    _ plan: ProxyHeaderPlan, of client: Handle, _ exchange: Handle
  ) -> OutgoingTLVs {
    var tlvs = OutgoingTLVs()
    tlvs.hasChecksum = plan.hasChecksum
    let isTCP = connections[client].client.protocols.tcp
    if plan.saysALPN && connections[client].transport.isEncrypted {
      tlvs.alpn = connections[client].transport.protocolName
      // What a client without ALPN speaks.
      if tlvs.alpn.isEmpty && !isTCP { tlvs.alpn = Array("http/1.1".utf8) }
    }
    if plan.saysAuthority {
      var name = ByteBuffer()
      connections[client].transport.appendServerName(to: &name)
      let head = exchanges[exchange].head
      // TLS that is passed through.
      if isTCP && name.isEmpty && head != .none { heads[head].appendName(to: &name) }
      tlvs.authority = name.array(0..<name.count)
    }
    if plan.saysTLS, let facts = connections[client].transport.tlsFacts {
      tlvs.tls = OutgoingTLS(
        version: Array("\(facts.version)".utf8), cipher: Array("\(facts.suite.name)".utf8))
    }
    if plan.saysUniqueID { tlvs.uniqueID = uniqueID(of: client) }
    return tlvs
  }

  /// Of the client's connection, the same for all backends.
  private mutating func uniqueID(of client: Handle) -> [UInt8] {
    if let id = proxiedClients[client]?.uniqueID, !id.isEmpty { return id }
    if let id = ownConnections.id(of: client) { return id }
    let id = (0..<32).map { _ in Self.idDigits.bytes[generator.next(below: 16)] }
    ownConnections.name(client, id)
    return id
  }

  // MARK: Idle connections

  /// The client's own idle connection to this backend, if there is one. The rules are those of
  /// `takeIdle`.
  mutating func takeOwn(_ backend: Int, for handle: Handle) -> Handle? {
    guard exchanges[handle].pool.hasOwnConnections else { return nil }
    let client = exchanges[handle].client.connection
    while let connection = ownConnections.pop(backend, of: client) {
      guard case .http1Backend(_, .reserved) = connections[connection].wire else { continue }
      let isDoubtful =
        connections[connection].transport.isReadable || !exchanges[handle].machine.isIdempotent
      if isDoubtful && !isQuiet(connection) {
        close(connection)
        continue
      }
      stock.unreserve()
      setDeadline(connection, .never)
      return connection
    }
    return nil
  }

  /// A response has ended, and its connection may be used again, but only by this client.
  mutating func keepOwn(_ connection: Handle, _ codec: Handle) {
    let client = http1Backends[codec].client
    let backend = connections[connection].backend
    guard connections.contains(client), !connections[client].isEnding, lifecycle == .serving,
      backend.keepAlive.idleMax > 0, now < backend.retiresAt,
      ownConnections.count(of: client) < OwnConnections.idleMax,
      stock.count < settings.idleUpstreamMax
    else { return close(connection) }
    connections[connection].wire = .http1Backend(codec: codec, .reserved)
    connections[connection].transport.settle(&buffers)
    ownConnections.push(connection, to: backend.id, of: client)
    stock.reserve()
    setDeadline(connection, min(now + backend.keepAlive.idleTime, backend.retiresAt))
  }
}
