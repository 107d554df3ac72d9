// Driving connections to backends: dialling, answers, and the stock of idle ones.

import Balancing
import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  mutating func driveUpstream(_ handle: Handle) {
    switch upstreams[handle].phase {
    case .dialling(let exchange):
      finishDialling(handle, exchange)
    case .leased(let exchange):
      driveResponse(exchange)
    case .relaying(let exchange):
      relayResponse(exchange)
    case .idle, .reserved:
      // An idle connection has nothing to say: whatever it is, it ends it.
      guard upstreams[handle].transport.isReadable else { return }
      if !io.isQuiet(upstreams[handle].transport.socket) { close(upstream: handle) }
    }
  }

  private mutating func finishDialling(_ handle: Handle, _ exchange: Handle) {
    guard upstreams[handle].transport.isWritable else { return }
    if let error = io.connectionResult(of: upstreams[handle].transport.socket) {
      attemptFailed(exchange, FailureCause(connecting: error))
      return
    }
    upstreams[handle].lease(to: exchange, rules: exchanges[exchange].pool.responses)
    exchanges[exchange].machine.connected(at: now)
    sendRequest(exchange)
  }

  mutating func flushUpstream(_ handle: Handle) {
    let wasBlocked = upstreams[handle].transport.isBlocked
    let sentByteCount = upstreams[handle].transport.sentByteCount
    upstreams[handle].transport.flush(&io, &buffers)
    countBytes(upstream: handle)
    guard let exchange = upstreams[handle].exchange else { return }
    if upstreams[handle].transport.sentByteCount > sentByteCount {
      exchanges[exchange].machine.progressed(at: now)
    }
    updateDeadline(exchange)
    if upstreams[handle].transport.sendFailure != nil {
      // The backend may have answered before it closed the door; the answer counts.
      queueToDrive(upstream: handle)
      return
    }
    if upstreams[handle].transport.isFlushed || wasBlocked {
      switch upstreams[handle].phase {
      case .leased:
        if !exchanges[exchange].isTailGiven {
          queueToDrive(downstream: exchanges[exchange].downstream)
        }
      case .relaying:
        if exchanges[exchange].clientHasFinished && upstreams[handle].transport.isFlushed {
          io.shutdownSending(upstreams[handle].transport.socket)
        } else {
          queueToDrive(downstream: exchanges[exchange].downstream)
        }
      case .dialling, .idle, .reserved:
        break
      }
    }
  }

  mutating func upstreamExpired(_ handle: Handle) {
    if case .idle = upstreams[handle].phase { close(upstream: handle) }
  }

  // MARK: Idle connections

  mutating func makeIdle(_ handle: Handle) {
    let id = upstreams[handle].backend.id
    let keepAlive = upstreams[handle].keepAlive
    while idleUpstreams.count <= id { idleUpstreams.append([]) }
    guard idleUpstreams[id].count < keepAlive.idleMax,
      idleUpstreamCount < settings.idleUpstreamMax, stage == .serving
    else {
      close(upstream: handle)
      return
    }
    upstreams[handle].phase = .idle(since: now)
    upstreams[handle].transport.settle(&buffers)
    pushIdle(handle, id)
    setDeadline(upstream: handle, now + keepAlive.idleTime)
  }

  mutating func pushIdle(_ handle: Handle, _ id: Int) {
    idleUpstreams[id].append(handle)
    idleUpstreamCount += 1
    metrics.add(.upstreamConnectionsIdle)
  }

  mutating func popIdle(_ id: Int) -> Handle? {
    guard id < idleUpstreams.count, let handle = idleUpstreams[id].popLast() else { return nil }
    idleUpstreamCount -= 1
    metrics.subtract(.upstreamConnectionsIdle)
    return handle
  }

  mutating func close(upstream handle: Handle) {
    if case .idle = upstreams[handle].phase {
      let id = upstreams[handle].backend.id
      if id < idleUpstreams.count {
        let before = idleUpstreams[id].count
        idleUpstreams[id].removeAll { $0 == handle }
        let removed = before - idleUpstreams[id].count
        idleUpstreamCount -= removed
        metrics.subtract(.upstreamConnectionsIdle, removed)
      }
    }
    if case .reserved = upstreams[handle].phase { idleUpstreamCount -= 1 }
    countBytes(upstream: handle)
    upstreams[handle].deadline.cancel(in: &timers)
    var connection = upstreams.remove(handle)
    connection.transport.release(to: &buffers)
    io.close(connection.transport.socket, reset: false)
    metrics.add(.upstreamConnectionsClosed)
    let backend = connection.backend.id
    if backend < backendTraffic.count { backendTraffic[backend]?.add(.connectionsClosed) }
    if connection.owner != .none { loginEnded(handle, of: connection.owner) }
  }
}
