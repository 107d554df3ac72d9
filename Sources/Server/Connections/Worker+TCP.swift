// The beginning of a client's connection on a TCP listener: which pool it goes to, and the dial.
//
// The connection is one exchange, without a head and without stages. If TLS ends here, the
// handshake comes first (Worker+Opening). If the listener has routes and no TLS of its own, the
// client's first message is read, and goes on unchanged (TLS pass-through). The bytes are moved in
// Worker+TCPRelay.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  // MARK: Routing

  /// The rules of the listener now; nil if a reload removed it.
  private mutating func tcpRules(of client: Handle) -> TCPRules? {
    listeners[connections[client].client.listener].configured.flatMap { snapshot.listeners[$0].tcp }
  }

  /// A connection without TLS of ours: reads as much as the route depends on.
  mutating func routeConnection(_ handle: Handle, _ state: HelloScan) {
    guard let rules = tcpRules(of: handle) else {
      return refuseTCP(handle, .listenerRemoved)
    }
    if !rules.hasRoutes {
      return beginTCP(handle, pool: rules.pool(for: Span(), offers: { _ in false }))
    }
    var scan = state
    while true {
      // Behind a header of the PROXY protocol, bytes are here already.
      switch connections[handle].transport.continueScan(&scan) {
      case .more: break
      case .notTLS: return refuseTCP(handle, .malformedHead, reason: "not-tls")
      case .tooBig: return refuseTCP(handle, .malformedHead, reason: "hello-too-long")
      case .whole: return routeHello(handle, rules)
      }
      switch receive(handle) {
      case .bytes: break
      case .nothing:
        connections[handle].transport.settle(&buffers)
        connections[handle].wire = .opening(.unrouted(scan))
        return
      case .finished, .failed: return close(handle)
      }
    }
  }

  /// The client's first message is whole.
  private mutating func routeHello(_ handle: Handle, _ rules: TCPRules) {
    // Taken out for now, so that its bytes can be lent.
    var message = ByteBuffer()
    swap(&message, &scratch)
    message.removeAll()
    connections[handle].transport.appendHello(to: &message)
    guard let hello = ClientHello(message.bytes) else {
      swap(&message, &scratch)
      return refuseTCP(handle, .malformedHead, reason: "malformed-hello")
    }
    let name = hello.serverName ?? 0..<0
    let pool = rules.pool(for: message.bytes.extracting(name)) { offer in
      hello.offers(offer, in: message.bytes)
    }
    var head = Handle.none
    if !name.isEmpty {
      heads[nextHead].reset()
      heads[nextHead].keepName(message.bytes.extracting(name))
      head = takeHead()
    }
    swap(&message, &scratch)
    beginTCP(handle, pool: pool, head: head)
  }

  /// The TLS handshake with the client is done.
  mutating func beginTCP(_ handle: Handle) {
    guard let rules = tcpRules(of: handle) else {
      return refuseTCP(handle, .listenerRemoved)
    }
    var name = ByteBuffer()
    swap(&name, &scratch)
    name.removeAll()
    connections[handle].transport.appendServerName(to: &name)
    let pool = connections[handle].transport.pool(by: rules, for: name.bytes)
    swap(&name, &scratch)
    // New tickets of the handshake may wait.
    queueToFlush(handle)
    connections[handle].transport.settle(&buffers)
    beginTCP(handle, pool: pool)
  }

  /// The first message did not arrive in time.
  mutating func helloExpired(_ handle: Handle) {
    metrics.add(.slowHeads)
    refuseTCP(handle, .requestTimeout)
  }

  private mutating func refuseTCP(
    _ handle: Handle, _ failure: ExchangeFailure, reason: StaticString? = nil
  ) {
    let exchange = insertTCP(handle, head: .none)
    exchanges[exchange].malformation = reason
    perform(exchanges[exchange].machine.handle(.refused(failure), at: now), exchange)
  }

  // MARK: Beginning

  private mutating func insertTCP(_ handle: Handle, head: Handle) -> Handle {
    let generation = generations.count - 1
    generations[generation].exchangeCount += 1
    metrics.add(.exchangesActive)
    let exchange = exchanges.insert(
      ActiveExchange(
        Exchange(startedAt: now, isIdempotent: false, isComplete: true, isConnection: true),
        client: StreamID(connection: handle, stream: 0), generation: generations[generation].id,
        head: head,
        request: ActiveExchange.RequestFacts(
          hasHead: false, persists: false, tolerated: ToleratedReasons(),
          client: connections[handle].client.address,
          isTLS: connections[handle].transport.isEncrypted, trace: nil),
        stages: settings.stages))
    change(handle, to: .raw(exchange: exchange))
    setDeadline(handle, .never)
    return exchange
  }

  private mutating func beginTCP(_ handle: Handle, pool: Int?, head: Handle = .none) {
    let exchange = insertTCP(handle, head: head)
    let failure: ExchangeFailure
    if overload == .sheddingRequests {
      metrics.add(.requestsShed)
      failure = .overloaded
    } else if let pool {
      exchanges[exchange].forward(to: snapshot.pools[pool], index: pool)
      readFlow(exchange, of: handle)
      return perform(
        exchanges[exchange].machine.handle(.routed(collectsUntil: nil), at: now), exchange)
    } else {
      failure = .noRoute
    }
    perform(exchanges[exchange].machine.handle(.refused(failure), at: now), exchange)
  }

  /// The hash of a tuple, if that is the key of the strategy. Without it, the source is the key.
  private mutating func readFlow(_ exchange: Handle, of client: Handle) {
    let key = exchanges[exchange].pool.pool.affinityKey
    switch key {
    case .twoTuple, .threeTuple, .fiveTuple: break
    case .source, .header, .cookie, .query: return
    }
    let destination =
      proxiedClients[client]?.destination
      ?? io.localAddress(of: connections[client].transport.socket)
    guard let source = connections[client].client.address,
      case .ip(let address, let port)? = destination
    else { return }
    exchanges[exchange].selection.affinity = key.hash(
      of: Flow(
        source: source, sourcePort: connections[client].client.port, destination: address,
        destinationPort: port, protocolNumber: Flow.tcp))
  }

  // MARK: Attempts

  /// A slot of the selected member is reserved. Connections of other clients are never reused.
  mutating func dialTCP(_ handle: Handle, _ backend: Int, isFailOpen: Bool) {
    let start = Exchange.Event.attemptStarted(
      backend: backend, isReused: false, isFailOpen: isFailOpen)
    perform(exchanges[handle].machine.handle(start, at: now), handle)
    dial(handle)
  }

  /// The connection to the backend is there.
  mutating func openRelay(_ backend: Handle, _ handle: Handle) {
    change(backend, to: .raw(exchange: handle))
    perform(exchanges[handle].machine.handle(.relayOpened, at: now), handle)
    queueSource(handle, .request)
    queueSource(handle, .response)
    // A header of the PROXY protocol; some protocols begin with the server's bytes.
    if !connections[backend].transport.isFlushed { queueToFlush(backend) }
    if exchanges[handle].body.clientHasFinished { passEnd(handle, .request) }
  }
}
