// Connections of listeners with `proxy-protocol`: who may connect, and the header that names the
// client. Behind the header the connection goes on like any other.
//
// The header is never guessed, and never optional. Limits by address are those of the client, so
// they are applied when the header is there.

import Metrics
import Primitives
import Proxy
import ProxyProtocol
import Reactor
import TLS

/// What a header says beside the address of the client.
struct ProxiedClient {
  /// Who has connected.
  let proxy: SocketAddress
  /// Where the client has connected to.
  let destination: SocketAddress
  /// Empty if the header has none.
  let uniqueID: [UInt8]
}

extension Worker where IO: ~Copyable {
  mutating func open(
    _ socket: Socket, behind proxies: [AddressRange], peer: SocketAddress, listener: Int
  ) {
    guard let address = peer.ip, proxies.contains(where: { $0.contains(address) }) else {
      note(.notFromProxy, peer, listener: listener)
      return io.close(socket, reset: true)
    }
    guard admit(nil, peer, to: listener) else { return io.close(socket, reset: true) }
    // The client's protocols and limits follow behind the header.
    let proxy = Connection.Client(
      address: address, port: peer.port ?? 0, block: nil, listener: listener,
      protocols: ListenerProtocols(), desync: .strict)
    let handle = connections.insert(
      Connection(
        Transport(socket), peer: .client(proxy),
        wire: .opening(.proxyHeader(ProxyHeaderParser(), since: now))))
    clientCount += 1
    io.register(socket, token: Token(.connection, handle).packed)
    countOpened(client: handle)
    setDeadline(handle, now + handshakeTime)
  }

  /// Takes what has come of the header.
  mutating func driveProxyHeader(_ handle: Handle, _ parser: ProxyHeaderParser, since: Instant) {
    var parser = parser
    while true {
      let arrival = receive(handle)
      switch parser.parse(connections[handle].transport.inbound) {
      case .header(let header, let byteCount):
        return take(header, byteCount, of: handle, since: since)
      case .failed(let error): return refuse(handle, .invalid(error))
      case .more: break
      }
      switch arrival {
      case .bytes: continue
      case .nothing:
        connections[handle].wire = .opening(.proxyHeader(parser, since: since))
        return
      case .finished, .failed:
        // Without a byte it is a check whether somebody listens.
        if connections[handle].transport.inbound.isEmpty { return close(handle) }
        return refuse(handle, .incomplete)
      }
    }
  }

  private mutating func take(
    _ header: ProxyHeader, _ byteCount: Int, of handle: Handle, since: Instant
  ) {
    let proxy = connections[handle].client
    guard let configured = listeners[proxy.listener].configured else {
      return close(handle, reset: true)
    }
    metrics.add(.proxyHeaders)
    var address = proxy.address
    var port = proxy.port
    var isProxied = false
    // LOCAL, UNKNOWN and paths of sockets have no address: that of the proxy counts.
    if case .ip(let source, let destination, _) = header.origin {
      (address, port, isProxied) = (source.address, source.port, true)
      let place = header.tlvs.uniqueID ?? 0..<0
      proxiedClients[handle] = ProxiedClient(
        proxy: .ip(proxy.address ?? source.address, port: proxy.port),
        destination: .ip(destination.address, port: destination.port),
        uniqueID: connections[handle].transport.inbound.array(place))
    }
    connections[handle].transport.inbound.consume(byteCount)
    let peer = SocketAddress.ip(address ?? .loopbackV4, port: port)
    let block = countedBlock(of: peer)
    let isCounted = admission.count(block, maxPerAddress: settings.connectionsPerAddressMax)
    if !isCounted { noteRefusal(.address, of: peer, listener: proxy.listener) }
    let isAdmitted = isCounted && admitTCP(block, peer, to: proxy.listener)
    let fresh = snapshot.listeners[configured]
    connections[handle].peer = .client(
      Connection.Client(
        address: address, port: port, isProxied: isProxied, block: isCounted ? block : nil,
        listener: proxy.listener, protocols: isAdmitted ? fresh.protocols : proxy.protocols,
        desync: fresh.desync))
    guard isAdmitted else { return close(handle, reset: true) }
    if let context = fresh.context(worker: index) {
      beginHandshake(handle, context, since: since)
    } else if fresh.protocols.tcp {
      change(handle, to: .opening(.unrouted(HelloScan())))
      queueToDrive(handle)
    } else {
      beginHTTP1(handle)
      queueToDrive(handle)
    }
  }

  /// The handshake has what is left of the header's time.
  private mutating func beginHandshake(_ handle: Handle, _ context: TLSContext, since: Instant) {
    limitHandshakes()
    guard let session = try? TLSSession(accepting: context) else {
      return close(handle, reset: true)
    }
    connections[handle].transport.accept(session)
    connections[handle].transport.settle(&buffers)
    change(handle, to: .opening(.accepting(since: now)))
    handshakes.began(handle)
    metrics.add(.handshakesActive)
    queueToDrive(handle)
  }

  // MARK: Refusing

  /// Closes a connection whose header is not as it must be.
  mutating func refuse(_ handle: Handle, _ refusal: ProxyRefusal) {
    let client = connections[handle].client
    note(refusal, .ip(client.address ?? .loopbackV4, port: client.port), listener: client.listener)
    close(handle)
  }

  private mutating func note(_ refusal: ProxyRefusal, _ peer: SocketAddress, listener: Int) {
    metrics.add(.proxyHeaderFailures, at: UInt8(refusal.word.place))
    events.proxyHeaderRefused(refusal, from: peer, listener: listeners[listener].name, at: now)
  }
}
