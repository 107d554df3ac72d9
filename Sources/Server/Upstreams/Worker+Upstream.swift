// Connections to backends: dialling, and the stock of idle ones.

import Balancing
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  // MARK: Dialling

  /// Starts to connect to the selected member.
  mutating func dial(_ handle: Handle) {
    guard let member = exchanges[handle].attempt.pick?.member else { return }
    let connection = connections.nextHandle
    // An upgrade needs nothing more than HTTP/1.1, and HTTP/2 only with an extension.
    let onlyHTTP1 =
      exchanges[handle].pool.protocol == .auto
      && (asksForTunnel(handle) || stock.requiresHTTP1(member.record.id, at: now))
    var session: TLSSession?
    if let tls = exchanges[handle].pool.tls {
      do throws(TLSFailure) {
        session = try tls.makeSession(with: member, worker: index, onlyHTTP1: onlyHTTP1)
      } catch {
        return attemptFailed(handle, FailureCause(error), blamesBackend: false)
      }
    }
    let client = connections[exchanges[handle].client.connection].client.address
    let source = exchanges[handle].pool.source(for: client, to: member.address)
    let token = Token(.connection, connection).packed
    switch io.connect(to: member.address, from: source, token: token) {
    case .started(let socket):
      if let probes = exchanges[handle].pool.tcpKeepAlive, member.address.ip != nil {
        io.keepAlive(socket, probes)
      }
      let keepAlive = exchanges[handle].pool.keepAlive
      let backend = Connection.Backend(
        id: member.record.id, keepAlive: keepAlive, retiresAt: retirement(keepAlive))
      let inserted = connections.insert(
        Connection(
          Transport(connecting: socket, session), peer: .backend(backend),
          wire: .opening(.dialling(exchange: handle))))
      precondition(inserted == connection)
      metrics.add(.upstreamConnectionsOpened)
      backends.countOpened(member.record.id)
      let spoken = exchanges[handle].pool.protocol
      if spoken != .http1 && spoken != .tcp && !stock.speaksHTTP1(member.record.id)
        && !isOutdated(handle) && !onlyHTTP1
      {
        stock.share(connection, with: member.record.id)
      }
      lease(connection, for: handle)
      updateDeadline(handle)
    case .failed(let error):
      attemptFailed(handle, FailureCause(connecting: error), blamesBackend: !error.isShortage)
    }
  }

  /// When a connection that begins now is old. A tenth of jitter in both directions, so that those
  /// that began together don't end together.
  private mutating func retirement(_ keepAlive: KeepAlive) -> Instant {
    guard let age = keepAlive.ageMax else { return .never }
    let tenth = max(1, age.nanoseconds / 10)
    let jitter = Int64(generator.next(below: Int(2 * tenth))) - tenth
    return now + .nanoseconds(age.nanoseconds + jitter)
  }

  mutating func finishDialling(_ handle: Handle, _ exchange: Handle) {
    if connections[handle].transport.isOpening { return finishHandshake(handle, exchange) }
    guard connections[handle].transport.isWritable else { return }
    if let error = io.connectionResult(of: connections[handle].transport.socket) {
      return dialFailed(handle, exchange, FailureCause(connecting: error))
    }
    writeProxyHeader(handle, for: exchange)
    guard connections[handle].transport.isEncrypted else { return beginHTTP(handle, exchange) }
    connections[handle].transport.open(&buffers)
    finishHandshake(handle, exchange)
  }

  /// Continues the TLS handshake with a backend.
  private mutating func finishHandshake(_ handle: Handle, _ exchange: Handle) {
    let arrival = receive(handle)
    if let cause = FailureCause(handshake: arrival, exchanges[exchange].pool.protocol) {
      metrics.add(.upstreamHandshakesFailed)
      return dialFailed(handle, exchange, cause)
    }
    queueToFlush(handle)
    guard let facts = connections[handle].transport.tlsFacts else { return }
    metrics.add(facts.isResumed ? .upstreamHandshakesResumed : .upstreamHandshakesFull)
    let (sent, waiting) = (
      connections[handle].transport.sentByteCount, connections[handle].transport.unsentByteCount
    )
    exchanges[exchange].attempt.noteHandshake(sent: sent + UInt64(waiting))
    beginHTTP(handle, exchange)
  }

  /// Whether the exchange waits for the TLS handshake with its backend.
  mutating func isShakingHands(_ handle: Handle) -> Bool {
    guard let backend = backend(of: handle) else { return false }
    return connections[backend].transport.isOpening
  }

  /// Why a connection failed that has not brought a byte of the response.
  mutating func death(of handle: Handle) -> FailureCause {
    if case .tls(let failure) = connections[handle].transport.failure {
      return FailureCause(failure)
    }
    return .resetBeforeResponse
  }

  /// The connection can carry requests now.
  private mutating func beginHTTP(_ handle: Handle, _ exchange: Handle) {
    let spoken = exchanges[exchange].pool.protocol
    if spoken != .http1 {
      if spoken == .tcp { return openRelay(handle, exchange) }
      let isHTTP2 =
        connections[handle].transport.isEncrypted
        ? connections[handle].transport.isHTTP2 : spoken == .http2
      if isHTTP2 { return beginHTTP2Backend(handle, exchange) }
      if spoken == .http2 { return dialFailed(handle, exchange, .noHTTP2) }
      // If only HTTP/1.1 was offered, this says nothing about the backend, and nobody waits.
      if !asksForTunnel(exchange) { dialAgain(handle) }
    }
    backends.noteSpoken(.http1, by: connections[handle].backend.id)
    let codec = http1Backends.insert(HTTP1Backend(exchanges[exchange].pool.responses))
    if exchanges[exchange].pool.hasOwnConnections {
      http1Backends[codec].login = .proxied
      http1Backends[codec].client = exchanges[exchange].client.connection
    }
    change(handle, to: .http1Backend(codec: codec, .leased(exchange: exchange)))
    perform(exchanges[exchange].machine.handle(.connected, at: now), exchange)
  }

  // MARK: Idle connections

  /// Whether an idle connection is still open and the backend has sent nothing. Under TLS, a
  /// backend may send tickets and new keys at any time: they are taken.
  mutating func isQuiet(_ handle: Handle) -> Bool {
    if io.isQuiet(connections[handle].transport.socket) { return true }
    guard connections[handle].transport.isEncrypted else { return false }
    connections[handle].transport.note(.readable)
    guard receive(handle) == .nothing else { return false }
    connections[handle].transport.settle(&buffers)
    if !connections[handle].transport.isFlushed { queueToFlush(handle) }
    return true
  }

  /// Whether TLS of the exchange's pool has changed since the exchange began. Then its connection
  /// is not for others.
  mutating func isOutdated(_ handle: Handle) -> Bool {
    if generations.count == 1 { return false }
    let pool = exchanges[handle].poolIndex
    return generations[generationIndex(of: handle)].formerPools.contains(pool)
  }

  /// Before a TLS connection to a backend closes: sends the alert of a session that failed, or
  /// close_notify if the last message is complete.
  mutating func endSession(of handle: Handle) {
    var isOrderly = false
    if case .http1Backend(_, let use) = connections[handle].wire {
      if case .leased(let exchange) = use {
        isOrderly =
          connections[handle].transport.isFlushed && exchanges.contains(exchange)
          && exchanges[exchange].body.isEndGiven
      } else {
        isOrderly = true
      }
    }
    if isOrderly { connections[handle].transport.writeCloseNotify(&buffers) }
    if isOrderly || connections[handle].transport.hasAlert {
      connections[handle].transport.flush(&io, &buffers)
    }
  }

  /// The most recently used idle connection that is still open. A request that can't be sent twice
  /// only takes one that was used within the last second and has no unread bytes.
  mutating func takeIdle(_ backend: Int, for handle: Handle) -> Handle? {
    let isIdempotent = exchanges[handle].machine.isIdempotent
    while let connection = stock.pop(backend) {
      let idleSince = connections[connection].idleSince
      guard let since = idleSince else { continue }
      if !isIdempotent && now - since >= .seconds(1) {
        // It can serve the next idempotent request; all others are even older.
        stock.push(connection, to: backend)
        return nil
      }
      let isDoubtful = connections[connection].transport.isReadable || !isIdempotent
      if isDoubtful && !isQuiet(connection) {
        // It is removed from the stock as it closes.
        stock.push(connection, to: backend)
        close(connection)
        continue
      }
      metrics.subtract(.upstreamConnectionsIdle)
      setDeadline(connection, .never)
      return connection
    }
    return nil
  }

  mutating func makeIdle(_ handle: Handle, _ codec: Handle) {
    let backend = connections[handle].backend
    guard stock.count(of: backend.id) < backend.keepAlive.idleMax,
      stock.count < settings.idleUpstreamMax, lifecycle == .serving, now < backend.retiresAt
    else { return close(handle) }
    connections[handle].wire = .http1Backend(codec: codec, .idle(since: now))
    connections[handle].transport.settle(&buffers)
    stock.push(handle, to: backend.id)
    metrics.add(.upstreamConnectionsIdle)
    setDeadline(handle, min(now + backend.keepAlive.idleTime, backend.retiresAt))
  }

  /// Of pools whose TLS has changed: what was verified then doesn't count now.
  mutating func closeIdleBackends(ofPools names: Set<String>) {
    if names.isEmpty { return }
    for slot in 0..<connections.slotCount {
      guard let handle = connections.handle(at: slot), !connections[handle].isClient,
        let pool = backends.pool(of: connections[handle].backend.id), names.contains(pool)
      else { continue }
      switch connections[handle].wire {
      case .http2Backend: retire(handle)
      case .opening: stock.unshare(handle, of: connections[handle].backend.id)
      case .http1Backend(_, .idle), .http1Backend(_, .reserved): close(handle)
      case .http1Backend, .http1Client, .http2Client, .raw, .ending: break
      }
    }
  }

  mutating func closeIdleBackends() {
    for slot in 0..<connections.slotCount {
      if let handle = connections.handle(at: slot), !connections[handle].isClient {
        endIdleBackend(handle)
      }
    }
  }

  /// Closes the connection if it is idle. One that is shared ends with its last stream.
  private mutating func endIdleBackend(_ handle: Handle) {
    if case .http2Backend = connections[handle].wire { return retire(handle) }
    if connections[handle].idleSince != nil { close(handle) }
  }
}
