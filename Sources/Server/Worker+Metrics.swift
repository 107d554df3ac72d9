// Which counter an event belongs to.

import Balancing
import HTTP1
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
    let received = exchanges[handle].bodyByteCount
    let sent = exchanges[handle].response.byteCount
    if let block = block(exchanges[handle].route.traffic) {
      block.add(counter)
      block.add(duration: duration)
      block.add(.receivedBytes, received)
      block.add(.sentBytes, sent)
    }
    if let block = block(exchanges[handle].pool.traffic) {
      block.add(counter)
      block.fine?.add(microseconds: UInt64(max(0, duration.microseconds)))
    }
    countListener(exchanges[handle].downstream, counter)
    // Only an answer of the backend's own is counted for it.
    guard let last = exchanges[handle].machine.attempts.last, last.status > 0,
      let block = backendTraffic[last.backend]
    else { return }
    block.add(TrafficCounter(status: last.status))
    block.add(duration: last.duration)
    block.add(.receivedBytes, sent)
    block.add(.sentBytes, received)
  }

  /// The same for an answer of ours, to a request that no exchange began for.
  mutating func countLocalAnswer(_ downstream: Handle, _ route: RouteSettings?, status: UInt16) {
    let counter = TrafficCounter(status: status)
    if let route, let block = block(route.traffic) {
      block.add(counter)
      block.add(duration: .zero)
    }
    countListener(downstream, counter)
  }

  private mutating func countListener(_ downstream: Handle, _ counter: TrafficCounter) {
    guard let listener = listeners[downstreams[downstream].listener].configured else { return }
    block(snapshot.listeners[listener].traffic)?.add(counter)
  }

  /// This worker's own of a subject's blocks.
  private mutating func block(_ blocks: [TrafficMetrics]) -> TrafficMetrics? {
    index < blocks.count ? blocks[index] : nil
  }

  /// An attempt has failed at the backend that the exchange has picked.
  mutating func countFailure(_ cause: FailureCause, of handle: Handle) {
    guard let backend = exchanges[handle].pick?.record.id else { return }
    backendTraffic[backend]?.add(failure: cause.counters.attempt, at: now)
  }

  mutating func countBytes(downstream handle: Handle) {
    let (received, sent) = downstreams[handle].transport.takeUncounted()
    metrics.add(.downstreamBytesReceived, Int(received))
    metrics.add(.downstreamBytesSent, Int(sent))
  }

  mutating func countBytes(upstream handle: Handle) {
    let (received, sent) = upstreams[handle].transport.takeUncounted()
    metrics.add(.upstreamBytesReceived, Int(received))
    metrics.add(.upstreamBytesSent, Int(sent))
  }

  mutating func countHandshake(of handle: Handle) {
    guard let facts = downstreams[handle].transport.tlsFacts else { return }
    metrics.add(facts.isResumed ? .handshakesResumed : .handshakesFull)
    if let metric = Metric(facts.suite) { metrics.add(metric) }
  }

  mutating func countTolerated(_ tolerated: ToleratedReasons) {
    if tolerated.isEmpty { return }
    for reason in HTTP1Error.tolerable where tolerated.contains(reason) {
      if let metric = Metric(tolerating: reason) { metrics.add(metric) }
    }
  }

  mutating func countToleratedInResponse(_ tolerated: ToleratedReasons) {
    for reason in HTTP1Error.tolerableInResponses where tolerated.contains(reason) {
      if let metric = Metric(toleratingInResponse: reason) { metrics.add(metric) }
    }
  }

  mutating func countFailure(_ failure: ExchangeFailure) {
    switch failure {
    case .upstream(let cause): metrics.add(cause.counters.exchange)
    case .unavailable(.queueFull): metrics.add(.failuresQueueFull)
    case .unavailable(.queueTimeout): metrics.add(.failuresQueueTimeout)
    case .unavailable: metrics.add(.failuresNoMember)
    default: break
    }
  }
}

extension Metric {
  /// Why a request was refused.
  init(refusing error: HTTP1Error) {
    self =
      switch error {
      case .bareLineFeed: .refusedBareLineFeed
      case .bareCarriageReturn: .refusedBareCarriageReturn
      case .controlCharacter: .refusedControlCharacter
      case .tooManyEmptyLines: .refusedTooManyEmptyLines
      case .badRequestLine: .refusedBadRequestLine
      case .badMethod: .refusedBadMethod
      case .badTarget: .refusedBadTarget
      case .targetNotASCII: .refusedTargetNotASCII
      case .targetTooLong: .refusedTargetTooLong
      case .badVersion: .refusedBadVersion
      case .headTooLarge: .refusedHeadTooLarge
      case .tooManyFields: .refusedTooManyFields
      case .obsFold: .refusedObsFold
      case .spaceBeforeColon: .refusedSpaceBeforeColon
      case .badFieldName: .refusedBadFieldName
      case .missingHost: .refusedMissingHost
      case .duplicateHost: .refusedDuplicateHost
      case .badHost: .refusedBadHost
      case .contentLengthWithTransferEncoding: .refusedContentLengthWithTransferEncoding
      case .differingContentLengths: .refusedDifferingContentLengths
      case .repeatedContentLength: .refusedRepeatedContentLength
      case .badContentLength: .refusedBadContentLength
      case .transferEncodingInHTTP10: .refusedTransferEncodingInHTTP10
      case .transferEncodingNotChunked: .refusedTransferEncodingNotChunked
      case .unknownTransferCoding: .refusedUnknownTransferCoding
      case .badChunkSize: .refusedBadChunkSize
      case .chunkExtensionTooLong: .refusedChunkExtensionTooLong
      case .badChunkEnd: .refusedBadChunkEnd
      case .trailerTooLarge: .refusedTrailerTooLarge
      // Only responses have these. An end within a body is an abort, and counted as one.
      case .badStatusLine, .truncatedBody, .missingColon, .repeatedChunked, .identityCoding,
        .blankAfterChunkSize, .tooManyInterimHeads:
        .refusedBadRequestLine
      }
  }

  /// What a request was forgiven; nil for what never is.
  init?(tolerating error: HTTP1Error) {
    switch error {
    case .obsFold: self = .toleratedObsFold
    case .spaceBeforeColon: self = .toleratedSpaceBeforeColon
    case .badFieldName: self = .toleratedBadFieldName
    case .repeatedContentLength: self = .toleratedRepeatedContentLength
    case .targetNotASCII: self = .toleratedTargetNotASCII
    default: return nil
    }
  }

  /// What a response was forgiven; nil for what never is.
  init?(toleratingInResponse error: HTTP1Error) {
    switch error {
    case .obsFold: self = .responseObsFold
    case .badFieldName: self = .responseBadFieldName
    case .missingColon: self = .responseMissingColon
    case .bareLineFeed: self = .responseBareLineFeed
    case .repeatedChunked: self = .responseRepeatedChunked
    case .identityCoding: self = .responseIdentityCoding
    case .blankAfterChunkSize: self = .responseBlankAfterChunkSize
    default: return nil
    }
  }

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

  /// Why a handshake failed.
  init(failedHandshake failure: TransportFailure) {
    guard case .tls(let failure) = failure else {
      self = .handshakePeerClosed
      return
    }
    self =
      switch failure {
      case .notTLS: .handshakeNotTLS
      case .plaintextHTTP: .handshakePlaintextHTTP
      case .unsupportedProtocol: .handshakeUnsupportedProtocol
      case .noSharedCipher: .handshakeNoSharedCipher
      case .noApplicationProtocol: .handshakeNoApplicationProtocol
      case .badCertificate: .handshakeBadCertificate
      case .peerAlert: .handshakePeerAlert
      case .peerClosed: .handshakePeerClosed
      case .helloTooLong: .handshakeHelloTooLong
      case .recordFlood, .ended, .other: .handshakeOther
      }
  }

  /// Why the session on a connection failed, if it did after its handshake.
  init?(failedSessionOf transport: borrowing Transport) {
    guard transport.isEncrypted, transport.isEstablished, case .tls(let failure) = transport.failure
    else { return nil }
    self =
      switch failure {
      case .recordFlood: .sessionRecordFlood
      case .badCertificate, .peerAlert: .sessionPeerAlert
      default: .sessionOther
      }
  }
}

extension FailureCause {
  /// What it is counted under: an exchange that ends with it, and an attempt at a backend.
  var counters: (exchange: Metric, attempt: TrafficCounter) {
    switch self {
    case .connectRefused: (.failuresRefused, .failuresRefused)
    case .connectTimeout: (.failuresConnectTimeout, .failuresConnectTimeout)
    case .connectFailed: (.failuresConnect, .failuresConnect)
    case .resetBeforeResponse, .closedBeforeResponse: (.failuresReset, .failuresReset)
    case .responseTimeout, .responseStalled: (.failuresResponseTimeout, .failuresResponseTimeout)
    case .badResponse: (.failuresMalformed, .failuresMalformed)
    case .truncatedResponse: (.failuresTruncated, .failuresTruncated)
    case .status: (.failuresStatus, .failuresStatus)
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
