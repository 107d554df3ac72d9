// Connections to backends: dialling, and the stock of idle ones.

import Balancing
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  // MARK: Dialling

  /// Starts to connect to the selected member.
  mutating func dial(_ handle: Handle) {
    guard let member = exchanges[handle].attempt.pick?.member else { return }
    let connection = connections.nextHandle
    switch io.connect(to: member.address, token: Token(.connection, connection).packed) {
    case .started(let socket):
      if let probes = exchanges[handle].pool.tcpKeepAlive, member.address.ip != nil {
        io.keepAlive(socket, probes)
      }
      let backend = Connection.Backend(
        id: member.record.id, keepAlive: exchanges[handle].pool.keepAlive)
      let inserted = connections.insert(
        Connection(
          Transport(socket, isWritable: false), peer: .backend(backend),
          wire: .opening(.dialling(exchange: handle))))
      precondition(inserted == connection)
      metrics.add(.upstreamConnectionsOpened)
      backends.countOpened(member.record.id)
      lease(connection, for: handle)
      updateDeadline(handle)
    case .failed(let error):
      attemptFailed(handle, FailureCause(connecting: error), blamesBackend: !error.isShortage)
    }
  }

  mutating func finishDialling(_ handle: Handle, _ exchange: Handle) {
    guard connections[handle].transport.isWritable else { return }
    if let error = io.connectionResult(of: connections[handle].transport.socket) {
      attemptFailed(exchange, FailureCause(connecting: error))
      return
    }
    let codec = http1Backends.insert(HTTP1Backend(exchanges[exchange].pool.responses))
    change(handle, to: .http1Backend(codec: codec, .leased(exchange: exchange)))
    perform(exchanges[exchange].machine.handle(.connected, at: now), exchange)
  }

  // MARK: Idle connections

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
      if isDoubtful && !io.isQuiet(connections[connection].transport.socket) {
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
      stock.count < settings.idleUpstreamMax, stage == .serving
    else { return close(handle) }
    connections[handle].wire = .http1Backend(codec: codec, .idle(since: now))
    connections[handle].transport.settle(&buffers)
    stock.push(handle, to: backend.id)
    metrics.add(.upstreamConnectionsIdle)
    setDeadline(handle, now + backend.keepAlive.idleTime)
  }

  mutating func closeIdleBackends() {
    for slot in 0..<connections.slotCount {
      if let handle = connections.handle(at: slot), connections[handle].idleSince != nil {
        close(handle)
      }
    }
  }
}
