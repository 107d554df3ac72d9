// The record of an exchange at its end: its counters, its spans, its line in the access log, and
// its report to the admin interface.

import HTTP
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  mutating func logExchange(_ handle: Handle) {
    let failure = exchanges[handle].machine.failure
    if let failure { countFailure(failure) }
    var status = exchanges[handle].response.status
    // 499 is known from nginx: the client left before it got a response.
    if failure == .clientAborted && status == 0 { status = 499 }
    var duration = now - exchanges[handle].machine.startedAt
    // It began in this turn, so its duration is measured exactly.
    if duration == .zero { duration = io.exactNow - now }
    countExchange(handle, status: status, took: duration)
    if let trace = exchanges[handle].request.trace {
      exportSpans(of: handle, trace, status: status, failure: failure?.name)
    }
    let attemptCount = exchanges[handle].machine.attempts.count
    let isNotable =
      status >= 500 || duration >= ExchangeReports.slow || attemptCount > 1
      || failure != nil && failure != .clientAborted
    let isReported =
      reports.wants(isNotable: isNotable) && (!isNotable || reportAllowance.take(at: now))
    let weight =
      log.isOn
      ? log.weight(
        status: status, failed: failure != nil, attempts: attemptCount, duration: duration) : 0
    guard weight > 0 || isReported else { return }
    var facts = accessLogFacts(handle, status: status, duration: duration)
    if isReported {
      let line = log.json(
        facts, listener: listenerName(of: handle), request: heads[exchanges[handle].head],
        attempts: exchanges[handle].machine.attempts, names: backendNames)
      reports.add(line, isNotable: isNotable)
    }
    guard weight > 0 else { return }
    facts.sample = weight
    log.write(
      facts, listener: listenerName(of: handle), request: heads[exchanges[handle].head],
      attempts: exchanges[handle].machine.attempts, names: backendNames)
  }

  private mutating func listenerName(of handle: Handle) -> LogName {
    listeners[connections[exchanges[handle].client.connection].client.listener].name
  }

  private mutating func accessLogFacts(
    _ handle: Handle, status: UInt16, duration: TimeSpan
  ) -> AccessLogFacts {
    let connection = exchanges[handle].client.connection
    let client = exchanges[handle].request.client
    log.serverName.removeAll()
    connections[connection].transport.appendServerName(to: &log.serverName)
    var facts = AccessLogFacts(
      client: client, status: status, receivedByteCount: exchanges[handle].body.byteCount,
      sentByteCount: exchanges[handle].response.byteCount, duration: duration,
      tls: connections[connection].transport.tlsFacts)
    facts.hasRequest = exchanges[handle].request.hasHead
    let peer = connections[connection].client
    if peer.address != nil && peer.address == client { facts.clientPort = peer.port }
    if peer.desync == .monitor {
      facts.tolerated = exchanges[handle].request.tolerated
    }
    facts.route = exchanges[handle].route?.name
    facts.pool = exchanges[handle].target?.pool.name
    if let last = exchanges[handle].machine.attempts.last {
      facts.connectTime = last.connectDuration
      facts.firstByteTime = last.respondedAt.map { $0 - exchanges[handle].machine.startedAt }
    }
    facts.failure = exchanges[handle].machine.failure?.name
    facts.reason = exchanges[handle].malformation
    facts.toleratedInResponse = exchanges[handle].response.tolerated
    facts.queueTime = exchanges[handle].queue.time
    facts.wasBudgetSpent = exchanges[handle].attempt.wasBudgetSpent
    return facts
  }
}
