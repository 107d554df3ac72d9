// The record of a TCP connection at its end: its counters, its line in the access log, and its
// report to the admin interface.

import HTTP
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  mutating func logTCP(_ handle: Handle) {
    let failure = exchanges[handle].machine.failure
    if let failure { countFailure(failure) }
    let duration = now - exchanges[handle].machine.startedAt
    countTCP(handle, hasFailed: failure != nil, took: duration)
    let attemptCount = exchanges[handle].machine.attempts.count
    // Clients reset connections all the time, and scanners begin many.
    let isNotable =
      exchanges[handle].target != nil
      && (attemptCount > 1 || failure != nil && failure != .clientAborted && failure != .relayIdle)
    let isReported =
      reports.wants(isNotable: isNotable) && (!isNotable || reportAllowance.take(at: now))
    // A connection is not slow because it is long.
    let weight =
      log.isOn
      ? log.weight(status: 0, failed: failure != nil, attempts: attemptCount, duration: .zero) : 0
    guard weight > 0 || isReported else { return }
    let facts = tcpFacts(handle, duration: duration, sample: max(1, weight))
    if isReported {
      let line = log.json(
        facts, listener: listenerName(of: handle), request: heads[nextHead],
        attempts: exchanges[handle].machine.attempts, names: backends.names)
      reports.add(line, isNotable: isNotable)
    }
    if weight == 0 { return }
    log.write(
      facts, listener: listenerName(of: handle), request: heads[nextHead],
      attempts: exchanges[handle].machine.attempts, names: backends.names)
  }

  private mutating func countTCP(_ handle: Handle, hasFailed: Bool, took duration: TimeSpan) {
    metrics.add(hasFailed ? .tcpFailed : .tcpCompleted)
    let counter: TrafficCounter = hasFailed ? .tcpFailed : .tcpCompleted
    let received = exchanges[handle].body.byteCount
    let sent = exchanges[handle].response.byteCount
    let client = connections[exchanges[handle].client.connection].client
    if let block = listeners[client.listener].traffic {
      block.add(counter)
      block.add(.receivedBytes, received)
      block.add(.sentBytes, sent)
    }
    if let traffic = exchanges[handle].target?.pool.traffic, let block = block(traffic) {
      block.add(counter)
      if exchanges[handle].queue.time > .zero { block.queue.add(exchanges[handle].queue.time) }
    }
    guard let last = exchanges[handle].machine.attempts.last,
      let block = backends.traffic[last.backend]
    else { return }
    if last.connectDuration > .zero {
      block.add(counter)
      block.connect.add(last.connectDuration)
    }
    block.add(.receivedBytes, sent)
    block.add(.sentBytes, received)
  }

  private mutating func tcpFacts(
    _ handle: Handle, duration: TimeSpan, sample: Int
  ) -> AccessLogFacts {
    let connection = exchanges[handle].client.connection
    let client = exchanges[handle].request.client
    let peer = connections[connection].client
    log.serverName.removeAll()
    connections[connection].transport.appendServerName(to: &log.serverName)
    let head = exchanges[handle].head
    if head != .none { heads[head].appendName(to: &log.serverName) }
    return AccessLogFacts(
      hasRequest: false, kind: .tcp, client: client,
      clientPort: peer.address != nil && peer.address == client ? peer.port : nil,
      proxy: peer.isProxied ? proxiedClients[connection]?.proxy.ip : nil,
      pool: exchanges[handle].target?.pool.name, status: 0,
      failure: exchanges[handle].machine.failure?.name, reason: exchanges[handle].malformation,
      receivedByteCount: exchanges[handle].body.byteCount,
      sentByteCount: exchanges[handle].response.byteCount, duration: duration,
      connectTime: exchanges[handle].machine.attempts.last?.connectDuration ?? .zero,
      queueTime: exchanges[handle].queue.time,
      missedRetry: exchanges[handle].attempt.missedRetry,
      tls: connections[connection].transport.tlsFacts, sample: sample)
  }
}

// Of a connection whose TLS is passed through, a head has the server name only.
extension RequestHead {
  mutating func keepName(_ name: Span<UInt8>) { authority = fields.store(name) }

  func appendName(to text: inout ByteBuffer) { text.append(bytes(of: authority)) }
}
