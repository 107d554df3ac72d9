// Taking new connections from the worker's own listening sockets.

import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  /// The longest queue of a listening socket, by default of the kernel (net.core.somaxconn).
  private static var waitingMax: Int { 4096 }
  /// Connections taken from one listener in one turn. The others wait for the next turn, since a
  /// listener is reported as long as a connection waits.
  private static var acceptsPerTurn: Int { 64 }
  /// How long accepting pauses when descriptors or memory ran out.
  private static var exhaustionPause: TimeSpan { .milliseconds(100) }

  mutating func accept(from index: Int) {
    guard index < listeners.count, listeners[index].isOpen else { return }
    for _ in 0..<Self.acceptsPerTurn {
      switch io.accept(from: listeners[index].socket) {
      case .accepted(let socket, let peer):
        open(socket, peer: peer, listener: index)
      case .wouldBlock:
        return
      case .failed:
        continue
      case .exhausted:
        pauseAccepting()
        return
      }
    }
  }

  private mutating func open(_ socket: Socket, peer: SocketAddress, listener: Int) {
    metrics.add(.downstreamConnectionsAccepted)
    let configured = listeners[listener].configured
    if let configured, let proxies = snapshot.listeners[configured].proxies {
      return open(socket, behind: proxies, peer: peer, listener: listener)
    }
    let block = countedBlock(of: peer)
    guard admit(block, peer, to: listener) else { return io.close(socket, reset: true) }
    guard admitTCP(block, peer, to: listener) else {
      admission.leave(block)
      return io.close(socket, reset: true)
    }
    let context = configured.flatMap { snapshot.listeners[$0].context(worker: index) }
    let transport: Transport
    let wire: Connection.Wire
    let desync = configured.map { snapshot.listeners[$0].desync } ?? .strict
    let protocols = configured.map { snapshot.listeners[$0].protocols } ?? ListenerProtocols()
    if let context {
      limitHandshakes()
      guard let session = try? TLSSession(accepting: context) else {
        admission.leave(block)
        if protocols.tcp { listeners[listener].admission?.leave(block) }
        io.close(socket, reset: true)
        return
      }
      transport = Transport(socket, accepting: session)
      wire = .opening(.accepting(since: now))
    } else if protocols.tcp {
      transport = Transport(socket)
      wire = .opening(.unrouted(HelloScan()))
    } else {
      transport = Transport(socket)
      let codec = http1Clients.insert(
        HTTP1Client(limits: settings.headLimits, desync: desync))
      wire = .http1Client(codec: codec, exchange: nil)
    }
    let client = Connection.Client(
      address: peer.ip, port: peer.port ?? 0, block: block, listener: listener,
      protocols: protocols, desync: desync)
    let handle = connections.insert(Connection(transport, peer: .client(client), wire: wire))
    clientCount += 1
    io.register(socket, token: Token(.connection, handle).packed)
    countOpened(client: handle)
    if context != nil {
      handshakes.began(handle)
      metrics.add(.handshakesActive)
    }
    if protocols.tcp && context == nil { queueToDrive(handle) }
    let isHandshake = context != nil || protocols.tcp
    setDeadline(handle, now + (isHandshake ? handshakeTime : settings.headTimeout))
  }

  // MARK: Limits

  /// What a peer is counted as by address. Nil for trusted proxies, since they have many clients,
  /// and for Unix sockets, which have no address.
  mutating func countedBlock(of peer: SocketAddress) -> IPAddress? {
    guard let address = peer.ip,
      !settings.forwarding.trustedProxies.contains(where: { $0.contains(address) })
    else { return nil }
    return address.clientBlock
  }

  mutating func admit(_ block: IPAddress?, _ peer: SocketAddress, to listener: Int) -> Bool {
    let verdict = admission.enter(
      block, max: settings.connectionMax, maxPerAddress: settings.connectionsPerAddressMax)
    switch verdict {
    case .admitted: return true
    case .full: noteRefusal(.all, of: peer, listener: listener)
    case .addressFull: noteRefusal(.address, of: peer, listener: listener)
    }
    return false
  }

  /// The limits of a TCP listener itself.
  mutating func admitTCP(
    _ block: IPAddress?, _ peer: SocketAddress, to listener: Int
  ) -> Bool {
    guard let configured = listeners[listener].configured,
      let rules = snapshot.listeners[configured].tcp
    else { return true }
    let verdict = listeners[listener].admission?.enter(
      block, max: rules.connectionMax, maxPerAddress: rules.connectionsPerClientMax)
    switch verdict {
    case .admitted, nil: return true
    case .full: noteRefusal(.listener, of: peer, listener: listener)
    case .addressFull: noteRefusal(.listenerAndAddress, of: peer, listener: listener)
    }
    return false
  }

  /// A client's connection of a TCP listener ends.
  mutating func leaveListener(_ handle: Handle) {
    let client = connections[handle].client
    listeners[client.listener].admission?.leave(client.block)
  }

  /// Makes room for one more handshake. Closes up to two, so that the number falls soon after the
  /// limit was lowered.
  mutating func limitHandshakes() {
    for _ in 0..<2 {
      forgetEndedHandshakes()
      guard handshakes.count >= handshakeMax, let oldest = handshakes.oldest else { return }
      metrics.add(.handshakesDropped)
      close(oldest, reset: true)
    }
  }

  /// Fewer during overload, because OpenSSL uses about 45 KB for each.
  private var handshakeMax: Int {
    overload == .normal ? settings.handshakeMax : max(1, settings.handshakeMax / 4)
  }

  /// Makes sure that the oldest handshake, if there is one, is still in progress.
  private mutating func forgetEndedHandshakes() {
    while let oldest = handshakes.oldest {
      if connections.contains(oldest), connections[oldest].isAccepting { return }
      handshakes.forgetOldest()
    }
  }

  // MARK: Exhaustion

  /// Without descriptors or memory, accepting would fail again at once in every turn. So all
  /// listeners pause for a moment; the connections stay in their queues.
  private mutating func pauseAccepting() {
    metrics.add(.acceptExhausted)
    events.acceptingPaused(at: now)
    // Datagrams of sessions need no descriptor.
    for listener in listeners where listener.isOpen && !listener.isUDP {
      io.unwatch(listener: listener.socket)
    }
    acceptDeadline.set(
      now + Self.exhaustionPause, payload: WorkerTimer.resumeAccepting.payload, in: &timers)
  }

  mutating func resumeAccepting() {
    for (index, listener) in listeners.enumerated() where listener.isOpen && !listener.isUDP {
      io.watch(listener: listener.socket, token: WorkerListener.token(index, isUDP: listener.isUDP))
    }
  }

  // MARK: Listeners

  mutating func add(listener socket: Socket, configured: Int) {
    var listener = WorkerListener(
      socket: socket, configured: configured,
      name: LogName(snapshot.listeners[configured].name),
      traffic: block(snapshot.listeners[configured].traffic))
    listener.admission = snapshot.listeners[configured].tcp?.admission
    if snapshot.listeners[configured].udp != nil {
      udp.allocate()
      listener.isUDP = true
      listener.address = io.localAddress(of: socket)
    }
    listeners.append(listener)
    io.watch(
      listener: socket, token: WorkerListener.token(listeners.count - 1, isUDP: listener.isUDP))
    // In epoll, without an event: so it can be closed like any other.
    if listener.isUDP && udp.isHeld { io.unwatch(listener: socket) }
  }

  /// Stops listening. Closing the socket would reset the connections in its queue, so they are
  /// accepted first. Nothing of it is reported any more: if another process has it too, it stays
  /// open there, and would still be reported here.
  mutating func close(listener index: Int) {
    guard listeners[index].isOpen else { return }
    if listeners[index].isUDP {
      endSessions(ofListener: index, .listenerRemoved)
    } else {
      takeWaiting(index)
    }
    listeners[index].isOpen = false
    io.unwatch(listener: listeners[index].socket)
    io.close(listeners[index].socket, reset: false)
  }

  /// Accepts the connections that wait in the queue of a socket which is about to be closed: the
  /// kernel would reset them. Clients that connect all the time don't keep the worker here.
  private mutating func takeWaiting(_ index: Int) {
    for _ in 0...Self.waitingMax {
      switch io.accept(from: listeners[index].socket) {
      case .accepted(let socket, let peer): open(socket, peer: peer, listener: index)
      case .failed: continue
      case .wouldBlock, .exhausted: return
      }
    }
  }
}

/// One listening socket of a worker.
struct WorkerListener {
  let socket: Socket
  /// Index of its listener in the current snapshot; nil after a reload that removed it, while its
  /// connections are still open.
  var configured: Int?
  let name: LogName
  /// Where its traffic is counted.
  var traffic: TrafficMetrics?
  /// Who is connected, if it is a TCP listener. The same for all configurations, so that each
  /// connection leaves where it entered.
  var admission: Admission?
  var isOpen = true
  /// Then clients have sessions, and no connections.
  var isUDP = false
  /// Of a UDP listener.
  var address: SocketAddress?

  init(socket: Socket, configured: Int, name: LogName, traffic: TrafficMetrics?) {
    self.socket = socket
    self.configured = configured
    self.name = name
    self.traffic = traffic
  }

  static func token(_ index: Int, isUDP: Bool = false) -> UInt64 {
    Token(isUDP ? .udpListener : .listener, Handle(index: UInt32(index), generation: 1)).packed
  }
}
