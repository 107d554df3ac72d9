// The record of a session at its end: its counters, its line in the access log, and its report to
// the admin interface.

import HTTP
import Metrics
import Primitives
import Proxy

extension Worker where IO: ~Copyable {
  mutating func logSession(_ session: Handle) {
    let failure = udp.sessions[session].failure
    if let failure { countFailure(failure) }
    countSession(session, hasFailed: failure != nil)
    let attempts = udp.sessions[session].attempts
    let isNotable =
      attempts.count > 1 || failure != nil && failure != .sessionEvicted
    let isReported =
      reports.wants(isNotable: isNotable) && (!isNotable || reportAllowance.take(at: now))
    let weight =
      log.isOn
      ? log.weight(
        status: 0, failed: failure != nil, attempts: attempts.count, duration: .zero) : 0
    guard weight > 0 || isReported else { return }
    log.serverName.removeAll()
    let facts = facts(of: session, sample: max(1, weight))
    let name = listeners[udp.sessions[session].listener].name
    if isReported {
      let line = log.json(
        facts, listener: name, request: heads[nextHead], attempts: attempts, names: backends.names)
      reports.add(line, isNotable: isNotable)
    }
    if weight == 0 { return }
    log.write(
      facts, listener: name, request: heads[nextHead], attempts: attempts, names: backends.names)
  }

  private mutating func countSession(_ session: Handle, hasFailed: Bool) {
    metrics.add(hasFailed ? .udpFailed : .udpCompleted)
    let counter: TrafficCounter = hasFailed ? .udpFailed : .udpCompleted
    listeners[udp.sessions[session].listener].traffic?.add(counter)
    if let block = block(udp.sessions[session].pool.traffic) { block.add(counter) }
    guard let last = udp.sessions[session].attempts.last,
      let block = backends.traffic[last.backend]
    else { return }
    block.add(counter)
    let (received, sent) = (udp.sessions[session].received, udp.sessions[session].sent)
    block.add(.receivedBytes, sent.byteCount)
    block.add(.sentBytes, received.byteCount)
    block.add(.udpReceived, sent.datagramCount)
    block.add(.udpSent, received.datagramCount)
  }

  private mutating func facts(of session: Handle, sample: Int) -> AccessLogFacts {
    let key = udp.sessions[session].key
    return AccessLogFacts(
      hasRequest: false, kind: .udp, client: key.client.ip, clientPort: key.client.port,
      proxy: key.proxied == nil ? nil : key.peer, pool: udp.sessions[session].pool.name, status: 0,
      failure: udp.sessions[session].failure?.name,
      receivedByteCount: udp.sessions[session].received.byteCount,
      sentByteCount: udp.sessions[session].sent.byteCount,
      receivedDatagramCount: udp.sessions[session].received.datagramCount,
      sentDatagramCount: udp.sessions[session].sent.datagramCount,
      duration: now - udp.sessions[session].startedAt, sample: sample)
  }
}
