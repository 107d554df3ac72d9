// The table of everything Martlet counts. A case is one time series; its place in the enum is its
// place in a worker's block of counters, and its entry here is all that the exposition knows.
//
// Adding a metric means adding a case and its entry; nothing else keeps a list. Counters end in
// `_total`, gauges don't, as Prometheus wants it. Cases of one family stand together.

/// One time series of a worker.
public enum Metric: Int, CaseIterable, Sendable {
  case downstreamConnectionsAccepted
  case downstreamConnectionsClosed
  /// Gauge.
  case downstreamConnectionsActive
  /// Beyond the limit on all connections, on those of one address.
  case connectionsRefusedInAll
  case connectionsRefusedByAddress
  /// Ended under overload after their answer.
  case connectionsEndedByOverload
  case overloadEndingConnections
  case overloadSheddingRequests
  case requestsShed
  /// Ended after the last request that they might carry.
  case connectionsUsedUp
  case acceptExhausted
  case handshakesFull
  case handshakesResumed
  case handshakesFailed
  case handshakesTimedOut
  /// Beyond the limit on handshakes in progress.
  case handshakesDropped
  /// Why those failed that did.
  case handshakeNotTLS
  case handshakePlaintextHTTP
  case handshakeUnsupportedProtocol
  case handshakeNoSharedCipher
  case handshakeNoApplicationProtocol
  case handshakeBadCertificate
  case handshakePeerAlert
  case handshakePeerClosed
  case handshakeHelloTooLong
  case handshakeOther
  /// Why sessions failed after their handshake.
  case sessionRecordFlood
  case sessionPeerAlert
  case sessionOther
  /// Which suite was agreed on, and with it which version.
  case suiteAES128
  case suiteAES256
  case suiteChaCha20
  case suiteECDSAAES128
  case suiteECDSAAES256
  case suiteECDSAChaCha20
  case suiteRSAAES128
  case suiteRSAAES256
  case suiteRSAChaCha20

  case requests
  /// Refused by the HTTP/1 codec, by its own names of the reasons.
  case refusedBareLineFeed
  case refusedBareCarriageReturn
  case refusedControlCharacter
  case refusedTooManyEmptyLines
  case refusedBadRequestLine
  case refusedBadMethod
  case refusedBadTarget
  case refusedTargetNotASCII
  case refusedTargetTooLong
  case refusedBadVersion
  case refusedHeadTooLarge
  case refusedTooManyFields
  case refusedObsFold
  case refusedSpaceBeforeColon
  case refusedBadFieldName
  case refusedMissingHost
  case refusedDuplicateHost
  case refusedBadHost
  case refusedContentLengthWithTransferEncoding
  case refusedDifferingContentLengths
  case refusedRepeatedContentLength
  case refusedBadContentLength
  case refusedTransferEncodingInHTTP10
  case refusedTransferEncodingNotChunked
  case refusedUnknownTransferCoding
  case refusedBadChunkSize
  case refusedChunkExtensionTooLong
  case refusedBadChunkEnd
  case refusedTrailerTooLarge
  /// By us, who set its limit.
  case refusedBodyTooLarge
  /// Forgiven by a listener that isn't strict.
  case toleratedObsFold
  case toleratedSpaceBeforeColon
  case toleratedBadFieldName
  case toleratedRepeatedContentLength
  case toleratedTargetNotASCII
  /// Of a response, forgiven by a pool that isn't strict.
  case responseObsFold
  case responseBadFieldName
  case responseMissingColon
  case responseBareLineFeed
  case responseRepeatedChunked
  case responseIdentityCoding
  case responseBlankAfterChunkSize
  case slowHeads
  case slowBodies
  case slowResponses
  case responses1xx
  case responses2xx
  case responses3xx
  case responses4xx
  case responses5xx
  /// Gauge.
  case exchangesActive
  case exchangesCut
  case exchangesQueued
  /// Gauge.
  case exchangesWaiting
  case attempts
  case attemptsFailOpen
  case retries
  case retriesRefused
  /// Gauge.
  case retriesCharged
  case ejections
  case slowStarts
  case stickyNew
  case stickyKept
  case stickyMoved

  case failuresRefused
  case failuresConnectTimeout
  case failuresConnect
  case failuresReset
  case failuresResponseTimeout
  case failuresMalformed
  case failuresTruncated
  case failuresStatus
  case failuresNoMember
  case failuresQueueFull
  case failuresQueueTimeout

  case downstreamBytesReceived
  case upstreamBytesReceived
  case downstreamBytesSent
  case upstreamBytesSent

  case upstreamConnectionsOpened
  case upstreamConnectionsReused
  case upstreamConnectionsClosed
  /// Gauge.
  case upstreamConnectionsIdle

  case accessLogLinesDropped
  case spansDropped

  /// The response's class; nil for a status outside 100-599.
  public static func responses(status: Int) -> Metric? {
    switch status {
    case 100..<200: .responses1xx
    case 200..<300: .responses2xx
    case 300..<400: .responses3xx
    case 400..<500: .responses4xx
    case 500..<600: .responses5xx
    default: nil
    }
  }
}

/// What Prometheus is told about a metric.
struct Entry {
  let family: StaticString
  let labels: StaticString
  let kind: FamilyKind
  let help: StaticString

  static func counter(_ family: StaticString, _ help: StaticString) -> Entry {
    Entry(family: family, labels: "", kind: .counter, help: help)
  }

  static func counter(
    _ family: StaticString, _ labels: StaticString, _ help: StaticString
  ) -> Entry {
    Entry(family: family, labels: labels, kind: .counter, help: help)
  }

  static func gauge(_ family: StaticString, _ help: StaticString) -> Entry {
    Entry(family: family, labels: "", kind: .gauge, help: help)
  }
}

extension Metric {
  var entry: Entry {
    switch self {
    case .downstreamConnectionsAccepted:
      .counter(
        "martlet_downstream_connections_accepted_total", "Connections accepted from clients.")
    case .downstreamConnectionsClosed:
      .counter("martlet_downstream_connections_closed_total", "Client connections closed.")
    case .downstreamConnectionsActive:
      .gauge("martlet_downstream_connections_active", "Client connections open now.")
    case .connectionsRefusedInAll:
      .counter(Self.turnedAway, "limit=\"connections\"", Self.turnedAwayHelp)
    case .connectionsRefusedByAddress:
      .counter(Self.turnedAway, "limit=\"connections-per-address\"", Self.turnedAwayHelp)
    case .connectionsEndedByOverload:
      .counter(
        "martlet_downstream_connections_overload_total",
        "Client connections ended after an answer because memory or connections ran short.")
    case .overloadEndingConnections:
      .counter(Self.overload, "stage=\"ending-connections\"", Self.overloadHelp)
    case .overloadSheddingRequests:
      .counter(Self.overload, "stage=\"shedding-requests\"", Self.overloadHelp)
    case .requestsShed:
      .counter("martlet_requests_shed_total", "Requests refused because memory ran short.")
    case .connectionsUsedUp:
      .counter(
        "martlet_downstream_connections_used_up_total",
        "Client connections ended after limits.requests-per-connection.")
    case .acceptExhausted:
      .counter(
        "martlet_accept_exhausted_total",
        "Times that accepting paused because descriptors or memory ran out.")
    case .handshakesFull:
      .counter("martlet_handshakes_total", "result=\"full\"", Self.handshakesHelp)
    case .handshakesResumed:
      .counter("martlet_handshakes_total", "result=\"resumed\"", Self.handshakesHelp)
    case .handshakesFailed:
      .counter("martlet_handshakes_total", "result=\"failed\"", Self.handshakesHelp)
    case .handshakesTimedOut:
      .counter("martlet_handshakes_total", "result=\"timed_out\"", Self.handshakesHelp)
    case .handshakesDropped:
      .counter("martlet_handshakes_total", "result=\"dropped\"", Self.handshakesHelp)
    case .handshakeNotTLS: .counter(Self.handshake, "reason=\"not-tls\"", Self.handshakeHelp)
    case .handshakePlaintextHTTP:
      .counter(Self.handshake, "reason=\"plaintext-http\"", Self.handshakeHelp)
    case .handshakeUnsupportedProtocol:
      .counter(Self.handshake, "reason=\"unsupported-protocol\"", Self.handshakeHelp)
    case .handshakeNoSharedCipher:
      .counter(Self.handshake, "reason=\"no-shared-cipher\"", Self.handshakeHelp)
    case .handshakeNoApplicationProtocol:
      .counter(Self.handshake, "reason=\"no-application-protocol\"", Self.handshakeHelp)
    case .handshakeBadCertificate:
      .counter(Self.handshake, "reason=\"bad-certificate\"", Self.handshakeHelp)
    case .handshakePeerAlert:
      .counter(Self.handshake, "reason=\"peer-alert\"", Self.handshakeHelp)
    case .handshakePeerClosed:
      .counter(Self.handshake, "reason=\"peer-closed\"", Self.handshakeHelp)
    case .handshakeHelloTooLong:
      .counter(Self.handshake, "reason=\"hello-too-long\"", Self.handshakeHelp)
    case .handshakeOther: .counter(Self.handshake, "reason=\"other\"", Self.handshakeHelp)
    case .sessionRecordFlood:
      .counter(Self.session, "reason=\"record-flood\"", Self.sessionHelp)
    case .sessionPeerAlert: .counter(Self.session, "reason=\"peer-alert\"", Self.sessionHelp)
    case .sessionOther: .counter(Self.session, "reason=\"other\"", Self.sessionHelp)
    case .suiteAES128:
      .counter(Self.suite, "version=\"1.3\",suite=\"TLS_AES_128_GCM_SHA256\"", Self.suiteHelp)
    case .suiteAES256:
      .counter(Self.suite, "version=\"1.3\",suite=\"TLS_AES_256_GCM_SHA384\"", Self.suiteHelp)
    case .suiteChaCha20:
      .counter(
        Self.suite, "version=\"1.3\",suite=\"TLS_CHACHA20_POLY1305_SHA256\"", Self.suiteHelp)
    case .suiteECDSAAES128:
      .counter(
        Self.suite, "version=\"1.2\",suite=\"ECDHE-ECDSA-AES128-GCM-SHA256\"", Self.suiteHelp)
    case .suiteECDSAAES256:
      .counter(
        Self.suite, "version=\"1.2\",suite=\"ECDHE-ECDSA-AES256-GCM-SHA384\"", Self.suiteHelp)
    case .suiteECDSAChaCha20:
      .counter(
        Self.suite, "version=\"1.2\",suite=\"ECDHE-ECDSA-CHACHA20-POLY1305\"", Self.suiteHelp)
    case .suiteRSAAES128:
      .counter(
        Self.suite, "version=\"1.2\",suite=\"ECDHE-RSA-AES128-GCM-SHA256\"", Self.suiteHelp)
    case .suiteRSAAES256:
      .counter(
        Self.suite, "version=\"1.2\",suite=\"ECDHE-RSA-AES256-GCM-SHA384\"", Self.suiteHelp)
    case .suiteRSAChaCha20:
      .counter(
        Self.suite, "version=\"1.2\",suite=\"ECDHE-RSA-CHACHA20-POLY1305\"", Self.suiteHelp)

    case .requests: .counter("martlet_requests_total", "Requests whose head was accepted.")
    case .refusedBareLineFeed: .counter(Self.refused, "reason=\"bare-line-feed\"", Self.refusedHelp)
    case .refusedBareCarriageReturn:
      .counter(Self.refused, "reason=\"bare-carriage-return\"", Self.refusedHelp)
    case .refusedControlCharacter:
      .counter(Self.refused, "reason=\"control-character\"", Self.refusedHelp)
    case .refusedTooManyEmptyLines:
      .counter(Self.refused, "reason=\"too-many-empty-lines\"", Self.refusedHelp)
    case .refusedBadRequestLine:
      .counter(Self.refused, "reason=\"bad-request-line\"", Self.refusedHelp)
    case .refusedBadMethod: .counter(Self.refused, "reason=\"bad-method\"", Self.refusedHelp)
    case .refusedBadTarget: .counter(Self.refused, "reason=\"bad-target\"", Self.refusedHelp)
    case .refusedTargetNotASCII:
      .counter(Self.refused, "reason=\"target-not-ascii\"", Self.refusedHelp)
    case .refusedTargetTooLong:
      .counter(Self.refused, "reason=\"target-too-long\"", Self.refusedHelp)
    case .refusedBadVersion: .counter(Self.refused, "reason=\"bad-version\"", Self.refusedHelp)
    case .refusedHeadTooLarge: .counter(Self.refused, "reason=\"head-too-large\"", Self.refusedHelp)
    case .refusedTooManyFields:
      .counter(Self.refused, "reason=\"too-many-fields\"", Self.refusedHelp)
    case .refusedObsFold: .counter(Self.refused, "reason=\"obs-fold\"", Self.refusedHelp)
    case .refusedSpaceBeforeColon:
      .counter(Self.refused, "reason=\"space-before-colon\"", Self.refusedHelp)
    case .refusedBadFieldName: .counter(Self.refused, "reason=\"bad-field-name\"", Self.refusedHelp)
    case .refusedMissingHost: .counter(Self.refused, "reason=\"missing-host\"", Self.refusedHelp)
    case .refusedDuplicateHost:
      .counter(Self.refused, "reason=\"duplicate-host\"", Self.refusedHelp)
    case .refusedBadHost: .counter(Self.refused, "reason=\"bad-host\"", Self.refusedHelp)
    case .refusedContentLengthWithTransferEncoding:
      .counter(Self.refused, "reason=\"content-length-with-transfer-encoding\"", Self.refusedHelp)
    case .refusedDifferingContentLengths:
      .counter(Self.refused, "reason=\"differing-content-lengths\"", Self.refusedHelp)
    case .refusedRepeatedContentLength:
      .counter(Self.refused, "reason=\"repeated-content-length\"", Self.refusedHelp)
    case .refusedBadContentLength:
      .counter(Self.refused, "reason=\"bad-content-length\"", Self.refusedHelp)
    case .refusedTransferEncodingInHTTP10:
      .counter(Self.refused, "reason=\"transfer-encoding-in-http10\"", Self.refusedHelp)
    case .refusedTransferEncodingNotChunked:
      .counter(Self.refused, "reason=\"transfer-encoding-not-chunked\"", Self.refusedHelp)
    case .refusedUnknownTransferCoding:
      .counter(Self.refused, "reason=\"unknown-transfer-coding\"", Self.refusedHelp)
    case .refusedBadChunkSize: .counter(Self.refused, "reason=\"bad-chunk-size\"", Self.refusedHelp)
    case .refusedChunkExtensionTooLong:
      .counter(Self.refused, "reason=\"chunk-extension-too-long\"", Self.refusedHelp)
    case .refusedBadChunkEnd: .counter(Self.refused, "reason=\"bad-chunk-end\"", Self.refusedHelp)
    case .refusedTrailerTooLarge:
      .counter(Self.refused, "reason=\"trailer-too-large\"", Self.refusedHelp)
    case .refusedBodyTooLarge:
      .counter(Self.refused, "reason=\"body-too-large\"", Self.refusedHelp)
    case .toleratedObsFold: .counter(Self.tolerated, "reason=\"obs-fold\"", Self.toleratedHelp)
    case .toleratedSpaceBeforeColon:
      .counter(Self.tolerated, "reason=\"space-before-colon\"", Self.toleratedHelp)
    case .toleratedBadFieldName:
      .counter(Self.tolerated, "reason=\"bad-field-name\"", Self.toleratedHelp)
    case .toleratedRepeatedContentLength:
      .counter(Self.tolerated, "reason=\"repeated-content-length\"", Self.toleratedHelp)
    case .toleratedTargetNotASCII:
      .counter(Self.tolerated, "reason=\"target-not-ascii\"", Self.toleratedHelp)
    case .responseObsFold: .counter(Self.forgiven, "reason=\"obs-fold\"", Self.forgivenHelp)
    case .responseBadFieldName:
      .counter(Self.forgiven, "reason=\"bad-field-name\"", Self.forgivenHelp)
    case .responseMissingColon:
      .counter(Self.forgiven, "reason=\"missing-colon\"", Self.forgivenHelp)
    case .responseBareLineFeed:
      .counter(Self.forgiven, "reason=\"bare-line-feed\"", Self.forgivenHelp)
    case .responseRepeatedChunked:
      .counter(Self.forgiven, "reason=\"repeated-chunked\"", Self.forgivenHelp)
    case .responseIdentityCoding:
      .counter(Self.forgiven, "reason=\"identity-coding\"", Self.forgivenHelp)
    case .responseBlankAfterChunkSize:
      .counter(Self.forgiven, "reason=\"blank-after-chunk-size\"", Self.forgivenHelp)
    case .slowHeads: .counter(Self.slow, "part=\"head\"", Self.slowHelp)
    case .slowBodies: .counter(Self.slow, "part=\"body\"", Self.slowHelp)
    case .slowResponses: .counter(Self.slow, "part=\"response\"", Self.slowHelp)
    case .responses1xx: .counter(Self.responses, "class=\"1xx\"", Self.responsesHelp)
    case .responses2xx: .counter(Self.responses, "class=\"2xx\"", Self.responsesHelp)
    case .responses3xx: .counter(Self.responses, "class=\"3xx\"", Self.responsesHelp)
    case .responses4xx: .counter(Self.responses, "class=\"4xx\"", Self.responsesHelp)
    case .responses5xx: .counter(Self.responses, "class=\"5xx\"", Self.responsesHelp)
    case .exchangesActive: .gauge("martlet_exchanges_active", "Exchanges under way now.")
    case .exchangesCut:
      .counter(
        "martlet_exchanges_cut_total",
        "Exchanges that the end of the drain time, or a second signal, cut off.")
    case .exchangesQueued:
      .counter(
        "martlet_exchanges_queued_total",
        "Exchanges that had to wait for a place because every backend was full.")
    case .exchangesWaiting:
      .gauge("martlet_exchanges_waiting", "Exchanges that wait for a place at a backend now.")
    case .attempts: .counter("martlet_attempts_total", "Tries at a backend.")
    case .attemptsFailOpen:
      .counter(
        "martlet_attempts_fail_open_total",
        "Tries at a backend that isn't healthy, because none is and the pool fails open.")
    case .retries: .counter("martlet_retries_total", "Attempts after the first of an exchange.")
    case .retriesRefused:
      .counter(
        "martlet_retries_refused_total", "Retries not made because the retry budget was spent.")
    case .retriesCharged:
      .gauge("martlet_retries_charged", "Retries under way now that count against the budget.")
    case .ejections:
      .counter("martlet_ejections_total", "Backends ejected because their requests failed.")
    case .slowStarts:
      .counter("martlet_slow_starts_total", "Backends that came back with less than their share.")
    case .stickyNew: .counter(Self.sticky, "result=\"new\"", Self.stickyHelp)
    case .stickyKept: .counter(Self.sticky, "result=\"kept\"", Self.stickyHelp)
    case .stickyMoved: .counter(Self.sticky, "result=\"moved\"", Self.stickyHelp)

    case .failuresRefused: .counter(Self.failures, "cause=\"refused\"", Self.failuresHelp)
    case .failuresConnectTimeout:
      .counter(Self.failures, "cause=\"connect_timeout\"", Self.failuresHelp)
    case .failuresConnect: .counter(Self.failures, "cause=\"connect\"", Self.failuresHelp)
    case .failuresReset: .counter(Self.failures, "cause=\"reset\"", Self.failuresHelp)
    case .failuresResponseTimeout:
      .counter(Self.failures, "cause=\"response_timeout\"", Self.failuresHelp)
    case .failuresMalformed: .counter(Self.failures, "cause=\"malformed\"", Self.failuresHelp)
    case .failuresTruncated: .counter(Self.failures, "cause=\"truncated\"", Self.failuresHelp)
    case .failuresStatus: .counter(Self.failures, "cause=\"status\"", Self.failuresHelp)
    case .failuresNoMember: .counter(Self.failures, "cause=\"no_member\"", Self.failuresHelp)
    case .failuresQueueFull: .counter(Self.failures, "cause=\"queue_full\"", Self.failuresHelp)
    case .failuresQueueTimeout:
      .counter(Self.failures, "cause=\"queue_timeout\"", Self.failuresHelp)

    case .downstreamBytesReceived: .counter(Self.received, "side=\"downstream\"", Self.receivedHelp)
    case .upstreamBytesReceived: .counter(Self.received, "side=\"upstream\"", Self.receivedHelp)
    case .downstreamBytesSent: .counter(Self.sent, "side=\"downstream\"", Self.sentHelp)
    case .upstreamBytesSent: .counter(Self.sent, "side=\"upstream\"", Self.sentHelp)

    case .upstreamConnectionsOpened:
      .counter("martlet_upstream_connections_opened_total", "Connections dialled to backends.")
    case .upstreamConnectionsReused:
      .counter(
        "martlet_upstream_connections_reused_total",
        "Attempts that took an idle connection instead of dialling.")
    case .upstreamConnectionsClosed:
      .counter("martlet_upstream_connections_closed_total", "Backend connections closed.")
    case .upstreamConnectionsIdle:
      .gauge("martlet_upstream_connections_idle", "Backend connections that wait for reuse now.")

    case .accessLogLinesDropped:
      .counter(
        "martlet_access_log_lines_dropped_total",
        "Access log lines dropped because the log's target was too slow or full.")
    case .spansDropped:
      .counter(
        "martlet_spans_dropped_total",
        "Spans of traces dropped because the collector was too slow or didn't answer.")
    }
  }

  private static var handshakesHelp: StaticString { "TLS handshakes with clients, by result." }
  private static var handshake: StaticString { "martlet_handshake_failures_total" }
  private static var handshakeHelp: StaticString { "TLS handshakes that failed, by reason." }
  private static var session: StaticString { "martlet_tls_session_failures_total" }
  private static var sessionHelp: StaticString {
    "TLS sessions that failed after their handshake, by reason."
  }
  private static var suite: StaticString { "martlet_tls_sessions_total" }
  private static var suiteHelp: StaticString {
    "TLS sessions begun, by the version and the cipher suite agreed on."
  }
  private static var refused: StaticString { "martlet_requests_refused_total" }
  private static var refusedHelp: StaticString {
    "Requests refused as malformed or too large, by reason."
  }
  private static var tolerated: StaticString { "martlet_requests_tolerated_total" }
  private static var toleratedHelp: StaticString {
    "Requests with a fault that was repaired, by reason; see the listener's desync mode."
  }
  private static var forgiven: StaticString { "martlet_responses_tolerated_total" }
  private static var forgivenHelp: StaticString {
    "Responses with a fault that was repaired, by reason; see the pool's desync mode."
  }
  private static var turnedAway: StaticString { "martlet_downstream_connections_refused_total" }
  private static var turnedAwayHelp: StaticString {
    "Client connections closed at once because there were too many, by the limit."
  }
  private static var overload: StaticString { "martlet_overload_total" }
  private static var overloadHelp: StaticString { "Times that this stage of overload began." }
  private static var slow: StaticString { "martlet_slow_clients_total" }
  private static var slowHelp: StaticString {
    "Clients given up because they sent or took this part too slowly."
  }
  private static var responses: StaticString { "martlet_responses_total" }
  private static var responsesHelp: StaticString { "Responses sent to clients, by status class." }
  private static var sticky: StaticString { "martlet_sticky_answers_total" }
  private static var stickyHelp: StaticString {
    "Answers of pools with a cookie, by whether the client had a cookie and its backend answered."
  }
  private static var failures: StaticString { "martlet_failures_total" }
  private static var failuresHelp: StaticString { "Exchanges that failed, by cause." }
  private static var received: StaticString { "martlet_received_bytes_total" }
  private static var receivedHelp: StaticString { "Bytes received, by side." }
  private static var sent: StaticString { "martlet_sent_bytes_total" }
  private static var sentHelp: StaticString { "Bytes sent, by side." }
}
