// The record of an exchange at its end: its counters, its spans, its line in the access log, and
// its report to the admin interface.

import HTTP
import HTTP1
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  mutating func logExchange(_ handle: Handle) {
    var failure = exchanges[handle].machine.failure
    if exchanges[handle].request.isGRPC { failure = recordedFailure(handle, failure) }
    if let failure { countFailure(failure) }
    var status = exchanges[handle].response.status
    // 499 is known from nginx: the client left before it got a response.
    if status == 0, let failure,
      failure == .clientAborted || failure == .clientStalled || failure == .deadlineExceeded
    {
      status = failure.status
    }
    var duration = now - exchanges[handle].machine.startedAt
    // It began in this turn, so its duration is measured exactly.
    if duration == .zero { duration = io.exactNow - now }
    countExchange(handle, status: status, took: duration)
    if exchanges[handle].request.isGRPC { countCall(handle, failure: failure) }
    if let trace = exchanges[handle].request.trace {
      exportSpans(of: handle, trace, status: status, failure: failure?.name)
    }
    let attemptCount = exchanges[handle].machine.attempts.count
    // A scanner that asks for what doesn't exist must not displace failures of backends.
    let isForwarded = exchanges[handle].target != nil
    let isNotable =
      isForwarded
      && (status >= 500 || duration >= ExchangeReports.slow || attemptCount > 1
        || failure != nil && failure != .clientAborted)
    let isReported =
      reports.wants(isNotable: isNotable) && (!isNotable || reportAllowance.take(at: now))
    let hasFailed = failure != nil || hasFailedCall(handle)
    let weight =
      log.isOn
      ? log.weight(
        status: status, failed: hasFailed, attempts: attemptCount, duration: duration) : 0
    guard weight > 0 || isReported else { return }
    let facts = accessLogFacts(
      handle, status: status, failure, duration: duration, sample: max(1, weight))
    if isReported {
      let line = log.json(
        facts, listener: listenerName(of: handle), request: heads[exchanges[handle].head],
        attempts: exchanges[handle].machine.attempts, names: backends.names)
      reports.add(line, isNotable: isNotable)
    }
    if weight == 0 { return }
    log.write(
      facts, listener: listenerName(of: handle), request: heads[exchanges[handle].head],
      attempts: exchanges[handle].machine.attempts, names: backends.names)
  }

  mutating func listenerName(of handle: Handle) -> LogName {
    listeners[connections[exchanges[handle].client.connection].client.listener].name
  }

  private mutating func accessLogFacts(
    _ handle: Handle, status: UInt16, _ failure: ExchangeFailure?, duration: TimeSpan, sample: Int
  ) -> AccessLogFacts {
    let connection = exchanges[handle].client.connection
    let client = exchanges[handle].request.client
    let peer = connections[connection].client
    let last = exchanges[handle].machine.attempts.last
    let startedAt = exchanges[handle].machine.startedAt
    log.serverName.removeAll()
    connections[connection].transport.appendServerName(to: &log.serverName)
    return AccessLogFacts(
      hasRequest: exchanges[handle].request.hasHead, client: client,
      clientPort: peer.address != nil && peer.address == client ? peer.port : nil,
      proxy: peer.isProxied ? proxiedClients[connection]?.proxy.ip : nil,
      route: exchanges[handle].route?.name, pool: exchanges[handle].target?.pool.name,
      status: status, grpcStatus: exchanges[handle].response.grpcStatus,
      failure: failure?.name,
      reason: exchanges[handle].malformation,
      tolerated: peer.desync == .monitor
        ? exchanges[handle].request.tolerated : ToleratedReasons(),
      toleratedInResponse: exchanges[handle].response.tolerated,
      receivedByteCount: exchanges[handle].body.byteCount,
      sentByteCount: exchanges[handle].response.byteCount, duration: duration,
      connectTime: last?.connectDuration ?? .zero,
      firstByteTime: last?.respondedAt.map { $0 - startedAt },
      queueTime: exchanges[handle].queue.time,
      missedRetry: exchanges[handle].attempt.missedRetry,
      tls: connections[connection].transport.tlsFacts, sample: sample)
  }
}
