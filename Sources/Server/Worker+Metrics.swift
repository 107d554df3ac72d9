// Which counter an event belongs to.

import Balancing
import HTTP
import HTTP1
import HTTP2
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

extension Worker where IO: ~Copyable {
  mutating func countResponse(status: UInt16) {
    if let metric = Metric.responses(status: Int(status)) { metrics.add(metric) }
  }

  /// An exchange has ended with this status, as the log has it.
  mutating func countExchange(_ handle: Handle, status: UInt16, took duration: TimeSpan) {
    let counter = TrafficCounter(status: status)
    let received = exchanges[handle].body.byteCount
    let sent = exchanges[handle].response.byteCount
    if counter == .aborted { metrics.add(.exchangesAborted) }
    if let traffic = exchanges[handle].route?.traffic, let block = block(traffic) {
      block.add(counter)
      block.durations.add(duration)
      block.statuses?.add(method: heads[exchanges[handle].head].method.rawValue, status: status)
      block.add(.receivedBytes, received)
      block.add(.sentBytes, sent)
    }
    let last = exchanges[handle].machine.attempts.last
    if let traffic = exchanges[handle].target?.pool.traffic, let block = block(traffic) {
      block.add(counter)
      // A response without an attempt, such as 503 while all backends are down, says nothing about
      // the latency of the pool.
      if last != nil { block.fine?.add(microseconds: UInt64(max(0, duration.microseconds))) }
      if exchanges[handle].queue.time > .zero { block.queue.add(exchanges[handle].queue.time) }
    }
    countListener(
      exchanges[handle].client.connection, counter, received: received, sent: sent)
    // Only the backend's own response counts for it.
    guard let last, last.status > 0,
      let block = backends.traffic[last.backend]
    else { return }
    block.add(TrafficCounter(status: last.status))
    block.durations.add(last.duration)
    if last.connectDuration > .zero { block.connect.add(last.connectDuration) }
    if let respondedAt = last.respondedAt { block.firstByte.add(respondedAt - last.startedAt) }
    block.add(.receivedBytes, sent)
    block.add(.sentBytes, received)
  }

  private mutating func countListener(
    _ client: Handle, _ counter: TrafficCounter, received: UInt64, sent: UInt64
  ) {
    guard let block = listenerBlock(client) else { return }
    block.add(counter)
    block.add(.receivedBytes, received)
    block.add(.sentBytes, sent)
  }

  /// Also after a reload that removed the listener: what was opened is closed there.
  private mutating func listenerBlock(_ client: Handle) -> TrafficMetrics? {
    listeners[connections[client].client.listener].traffic
  }

  mutating func countOpened(client handle: Handle) {
    metrics.add(.downstreamConnectionsActive)
    listenerBlock(handle)?.add(.connectionsOpened)
  }

  mutating func countClosed(client handle: Handle) {
    listenerBlock(handle)?.add(.connectionsClosed)
  }

  /// This worker's block of a subject.
  mutating func block(_ blocks: [TrafficMetrics]) -> TrafficMetrics? {
    index < blocks.count ? blocks[index] : nil
  }

  /// An attempt has failed at the backend that the exchange has picked.
  mutating func countFailure(_ cause: FailureCause, of handle: Handle) {
    if cause == .notProcessed { metrics.add(.upstreamNotProcessed) }
    guard cause.isOfBackend, let backend = exchanges[handle].attempt.pick?.record.id else { return }
    backends.traffic[backend]?.add(failure: cause.word.rawValue, at: now)
  }

  mutating func countBytes(_ handle: Handle) {
    let (received, sent) = connections[handle].transport.takeUncounted()
    let isClient = connections[handle].isClient
    metrics.add(isClient ? .downstreamBytesReceived : .upstreamBytesReceived, Int(received))
    metrics.add(isClient ? .downstreamBytesSent : .upstreamBytesSent, Int(sent))
  }

  mutating func countHandshake(of handle: Handle) {
    guard let facts = connections[handle].transport.tlsFacts else { return }
    metrics.add(facts.isResumed ? .handshakesResumed : .handshakesFull)
    if case .opening(.accepting(let began)) = connections[handle].wire {
      metrics.handshakes.add(io.exactNow - began)
    }
    if let metric = Metric(facts.suite) { metrics.add(metric) }
  }

  mutating func countTolerated(_ tolerated: ToleratedReasons) {
    if tolerated.isEmpty { return }
    for reason in HTTP1Error.tolerable where tolerated.contains(reason) {
      metrics.add(.requestsTolerated, at: reason.rawValue)
    }
  }

  mutating func countToleratedInResponse(_ tolerated: ToleratedReasons) {
    for reason in HTTP1Error.tolerableInResponses where tolerated.contains(reason) {
      metrics.add(.responsesTolerated, at: reason.rawValue)
    }
  }

  /// A request was refused by the codec.
  mutating func countRefusal(_ error: HTTP1Error) {
    metrics.add(.requestsRefused, at: error.rawValue)
  }

  /// A client has broken a rule of HTTP/2, or went beyond a limit.
  mutating func countHTTP2(_ error: HTTP2Error) {
    metrics.add(.http2Errors, at: error.rawValue)
  }

  /// The same for a backend.
  mutating func countHTTP2(ofBackend error: HTTP2Error) {
    metrics.add(.http2BackendErrors, at: error.rawValue)
  }

  mutating func countFailure(_ failure: ExchangeFailure) {
    metrics.add(.failures, at: failure.word.rawValue)
  }

  /// A client that disconnects without closing the session counts as one that closes it.
  mutating func countFailedHandshake(_ failure: TransportFailure?) {
    metrics.add(.handshakesFailed)
    var kind = TLSFailure.Kind.peerClosed
    if case .tls(let failure) = failure { kind = failure.kind }
    if kind == .recordFlood || kind == .ended { kind = .other }
    metrics.add(.handshakeFailures, at: kind.rawValue)
  }

  /// Counts why the session on a connection failed, if it did after its handshake.
  mutating func countFailedSession(of handle: Handle) {
    guard connections[handle].transport.isEncrypted, connections[handle].transport.isEstablished,
      case .tls(let failure) = connections[handle].transport.failure
    else { return }
    let kind: TLSFailure.Kind =
      switch failure.kind {
      case .recordFlood, .peerAlert, .badCertificate: failure.kind
      default: .other
      }
    metrics.add(.sessionFailures, at: kind.rawValue)
  }
}

extension Metric {
  /// Nil for a suite that no policy of ours has.
  init?(_ suite: CipherSuite) {
    switch suite.code {
    case 0x1301: self = .suiteAES128
    case 0x1302: self = .suiteAES256
    case 0x1303: self = .suiteChaCha20
    case 0xC02B: self = .suiteECDSAAES128
    case 0xC02C: self = .suiteECDSAAES256
    case 0xCCA9: self = .suiteECDSAChaCha20
    case 0xC02F: self = .suiteRSAAES128
    case 0xC030: self = .suiteRSAAES256
    case 0xCCA8: self = .suiteRSAChaCha20
    default: return nil
    }
  }
}

extension FailureCause {
  /// Why a TLS session with a backend failed.
  init(_ failure: TLSFailure) {
    self =
      switch failure {
      case .peerRefused(.untrusted): .tlsUntrusted
      case .peerRefused(.expired): .tlsExpired
      case .peerRefused(.wrongName): .tlsWrongName
      case .peerRefused(.selfSigned): .tlsSelfSigned
      case .peerRefused(.pin): .tlsPin
      case .notTLS, .plaintextHTTP: .tlsNotSpoken
      case .peerAlert(let number): .tlsAlert(number)
      default: .tlsFailed
      }
  }

  /// Why a TLS handshake failed; nil if it hasn't. `spoken`: what was offered.
  init?(handshake arrival: Transport.Arrival, _ spoken: BackendProtocol) {
    switch arrival {
    case .bytes, .nothing: return nil
    // The alert no_application_protocol (RFC 7301 3.2), if nothing else was offered.
    case .failed(.tls(.peerAlert(120))) where spoken == .http2: self = .noHTTP2
    case .failed(.tls(let failure)): self.init(failure)
    case .finished, .failed(.system), .failed(.silenced): self = .tlsFailed
    }
  }

  /// Why a dial failed.
  init(connecting error: SystemError) {
    self =
      switch error {
      case .connectionRefused: .connectRefused
      case .timedOut: .connectTimeout
      default: .connectFailed
      }
  }
}
