// The table of all counters and gauges of the workers. A case is one time series. Its raw value is
// its index in a worker's block of counters, and its entry has everything for the exposition.
//
// To add a metric, add a case and its entry; there is no other list. The names of counters end in
// `_total`, as Prometheus requires. Cases of the same family must be adjacent.

/// One time series of a worker.
public enum Metric: Int, CaseIterable, Sendable {
  case downstreamConnectionsAccepted
  case downstreamConnectionsClosed
  /// Gauge.
  case downstreamConnectionsActive
  /// Above limits.connections, limits.connections-per-address.
  case connectionsRefusedInAll
  case connectionsRefusedByAddress
  /// Above a TCP listener's max-connections, max-connections-per-client.
  case connectionsRefusedByListener
  case connectionsRefusedByListenerAndAddress
  /// Closed under overload after their response.
  case connectionsEndedByOverload
  case overloadEndingConnections
  case overloadSheddingRequests
  case requestsShed
  case faultDelays
  case faultAborts
  /// Closed after limits.requests-per-connection.
  case connectionsUsedUp
  case acceptExhausted
  case proxyHeaders
  case http2Connections
  case http2Drains
  /// Gauge.
  case handshakesActive
  case handshakesFull
  case handshakesResumed
  case handshakesFailed
  case handshakesTimedOut
  /// Above limits.handshakes.
  case handshakesDropped
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
  case slowHeads
  case slowBodies
  case slowResponses
  case responses1xx
  case responses2xx
  case responses3xx
  case responses4xx
  case responses5xx
  /// The client disconnected before the response.
  case exchangesAborted
  /// Connections of TCP listeners that have ended.
  case tcpCompleted
  case tcpFailed
  /// Sessions of UDP listeners that have ended.
  case udpCompleted
  case udpFailed
  /// Gauge.
  case udpSessionsActive
  case udpDatagramsReceived
  case udpDatagramsSent
  case udpDatagramsDropped
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

  case downstreamBytesReceived
  case upstreamBytesReceived
  case downstreamBytesSent
  case upstreamBytesSent

  case upstreamConnectionsOpened
  case upstreamConnectionsReused
  case upstreamConnectionsClosed
  /// Gauge.
  case upstreamConnectionsIdle
  /// HTTP/2 connections that take no more streams.
  case upstreamRetiredByBackend
  case upstreamRetiredByCalm
  case upstreamRetiredByAge
  case upstreamRetiredByCancels
  /// Requests that HTTP/2 backends have not begun.
  case upstreamNotProcessed
  case upstreamHandshakesFull
  case upstreamHandshakesResumed
  case upstreamHandshakesFailed

  case accessLogLinesDropped
  case spansDropped

  /// Connections that a limit has refused.
  public static let refusals: [Metric] = [
    .connectionsRefusedInAll, .connectionsRefusedByAddress, .connectionsRefusedByListener,
    .connectionsRefusedByListenerAndAddress,
  ]

  /// The class of a status; nil for a status outside 100-599.
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

/// What the exposition writes about a metric.
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
      .gauge("martlet_downstream_connections_active", "Open client connections.")
    case .connectionsRefusedInAll:
      .counter(Self.turnedAway, "limit=\"connections\"", Self.turnedAwayHelp)
    case .connectionsRefusedByAddress:
      .counter(Self.turnedAway, "limit=\"connections-per-address\"", Self.turnedAwayHelp)
    case .connectionsRefusedByListener:
      .counter(Self.turnedAway, "limit=\"max-connections\"", Self.turnedAwayHelp)
    case .connectionsRefusedByListenerAndAddress:
      .counter(Self.turnedAway, "limit=\"max-connections-per-client\"", Self.turnedAwayHelp)
    case .connectionsEndedByOverload:
      .counter(
        "martlet_downstream_connections_overload_total",
        "Client connections closed after a response, because of overload (limits.memory).")
    case .overloadEndingConnections:
      .counter(Self.overload, "stage=\"ending-connections\"", Self.overloadHelp)
    case .overloadSheddingRequests:
      .counter(Self.overload, "stage=\"shedding-requests\"", Self.overloadHelp)
    case .requestsShed:
      .counter(
        "martlet_requests_shed_total", "Requests refused because of overload (limits.memory).")
    case .faultDelays:
      .counter("martlet_faults_total", "kind=\"delay\"", Self.faultsHelp)
    case .faultAborts:
      .counter("martlet_faults_total", "kind=\"abort\"", Self.faultsHelp)
    case .connectionsUsedUp:
      .counter(
        "martlet_downstream_connections_used_up_total",
        "Client connections closed after limits.requests-per-connection.")
    case .acceptExhausted:
      .counter(
        "martlet_accept_exhausted_total",
        "How often accepting was paused because no file descriptors or memory were left.")
    case .proxyHeaders:
      .counter(
        "martlet_proxy_headers_total",
        "Client connections that began with a valid header of the PROXY protocol.")
    case .http2Connections:
      .counter("martlet_http2_connections_total", "Client connections that use HTTP/2.")
    case .http2Drains:
      .counter(
        "martlet_http2_drains_total",
        "HTTP/2 connections of clients whose shutdown Martlet began with GOAWAY.")
    case .handshakesActive:
      .gauge("martlet_handshakes_active", "TLS handshakes in progress.")
    case .handshakesFull:
      .counter("martlet_handshakes_total", "result=\"full\"", Self.handshakesHelp)
    case .handshakesResumed:
      .counter("martlet_handshakes_total", "result=\"resumed\"", Self.handshakesHelp)
    case .handshakesFailed:
      .counter("martlet_handshakes_total", "result=\"failed\"", Self.handshakesHelp)
    case .handshakesTimedOut:
      .counter("martlet_handshakes_total", "result=\"timed-out\"", Self.handshakesHelp)
    case .handshakesDropped:
      .counter("martlet_handshakes_total", "result=\"dropped\"", Self.handshakesHelp)
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
    case .slowHeads: .counter(Self.slow, "part=\"head\"", Self.slowHelp)
    case .slowBodies: .counter(Self.slow, "part=\"body\"", Self.slowHelp)
    case .slowResponses: .counter(Self.slow, "part=\"response\"", Self.slowHelp)
    case .responses1xx: .counter(Self.responses, "class=\"1xx\"", Self.responsesHelp)
    case .responses2xx: .counter(Self.responses, "class=\"2xx\"", Self.responsesHelp)
    case .responses3xx: .counter(Self.responses, "class=\"3xx\"", Self.responsesHelp)
    case .responses4xx: .counter(Self.responses, "class=\"4xx\"", Self.responsesHelp)
    case .responses5xx: .counter(Self.responses, "class=\"5xx\"", Self.responsesHelp)
    case .exchangesAborted:
      .counter("martlet_aborted_total", "Exchanges whose client disconnected before the response.")
    case .tcpCompleted: .counter(Self.tcp, "result=\"ok\"", Self.tcpHelp)
    case .tcpFailed: .counter(Self.tcp, "result=\"failed\"", Self.tcpHelp)
    case .udpCompleted: .counter(Self.udp, "result=\"ok\"", Self.udpHelp)
    case .udpFailed: .counter(Self.udp, "result=\"failed\"", Self.udpHelp)
    case .udpSessionsActive:
      .gauge("martlet_udp_sessions_active", "Sessions of UDP listeners.")
    case .udpDatagramsReceived:
      .counter(
        "martlet_udp_datagrams_received_total", "Datagrams from clients of UDP listeners.")
    case .udpDatagramsSent:
      .counter("martlet_udp_datagrams_sent_total", "Datagrams to clients of UDP listeners.")
    case .udpDatagramsDropped:
      .counter(
        "martlet_udp_datagrams_dropped_total",
        "Datagrams of UDP listeners, in both directions, that were dropped.")
    case .exchangesActive:
      .gauge(
        "martlet_exchanges_active",
        "Active exchanges: requests in progress, and connections of TCP listeners.")
    case .exchangesCut:
      .counter(
        "martlet_exchanges_cut_total",
        "Exchanges aborted at the end of limits.drain, or by a second signal.")
    case .exchangesQueued:
      .counter(
        "martlet_exchanges_queued_total",
        "Exchanges that were queued because all backends were at max-connections.")
    case .exchangesWaiting:
      .gauge("martlet_exchanges_waiting", "Exchanges in the queues of pools.")
    case .attempts: .counter("martlet_attempts_total", "Attempts at backends.")
    case .attemptsFailOpen:
      .counter(
        "martlet_attempts_fail_open_total",
        "Attempts at unhealthy backends, because none is healthy and the pool fails open.")
    case .retries: .counter("martlet_retries_total", "Attempts after the first of an exchange.")
    case .retriesRefused:
      .counter(
        "martlet_retries_refused_total", "Retries refused because the retry budget was used up.")
    case .retriesCharged:
      .gauge("martlet_retries_charged", "Active retries that count against the retry budget.")
    case .ejections:
      .counter("martlet_ejections_total", "Ejections of backends whose requests failed.")
    case .slowStarts:
      .counter("martlet_slow_starts_total", "Slow starts of recovered backends.")
    case .stickyNew: .counter(Self.sticky, "result=\"new\"", Self.stickyHelp)
    case .stickyKept: .counter(Self.sticky, "result=\"kept\"", Self.stickyHelp)
    case .stickyMoved: .counter(Self.sticky, "result=\"moved\"", Self.stickyHelp)

    case .downstreamBytesReceived: .counter(Self.received, "side=\"downstream\"", Self.receivedHelp)
    case .upstreamBytesReceived: .counter(Self.received, "side=\"upstream\"", Self.receivedHelp)
    case .downstreamBytesSent: .counter(Self.sent, "side=\"downstream\"", Self.sentHelp)
    case .upstreamBytesSent: .counter(Self.sent, "side=\"upstream\"", Self.sentHelp)

    case .upstreamConnectionsOpened:
      .counter("martlet_upstream_connections_opened_total", "Connections opened to backends.")
    case .upstreamConnectionsReused:
      .counter(
        "martlet_upstream_connections_reused_total",
        "Attempts that reused an idle connection to a backend.")
    case .upstreamConnectionsClosed:
      .counter("martlet_upstream_connections_closed_total", "Connections to backends closed.")
    case .upstreamConnectionsIdle:
      .gauge("martlet_upstream_connections_idle", "Idle connections to backends.")
    case .upstreamRetiredByBackend: .counter(Self.retired, "reason=\"go-away\"", Self.retiredHelp)
    case .upstreamRetiredByCalm:
      .counter(Self.retired, "reason=\"enhance-your-calm\"", Self.retiredHelp)
    case .upstreamRetiredByAge: .counter(Self.retired, "reason=\"max-age\"", Self.retiredHelp)
    case .upstreamRetiredByCancels:
      .counter(Self.retired, "reason=\"cancels\"", Self.retiredHelp)
    case .upstreamNotProcessed:
      .counter(
        "martlet_upstream_http2_not_processed_total",
        "Requests that a backend with HTTP/2 has not begun, and said so.")
    case .upstreamHandshakesFull:
      .counter(Self.upstreamHandshakes, "result=\"full\"", Self.upstreamHandshakesHelp)
    case .upstreamHandshakesResumed:
      .counter(Self.upstreamHandshakes, "result=\"resumed\"", Self.upstreamHandshakesHelp)
    case .upstreamHandshakesFailed:
      .counter(Self.upstreamHandshakes, "result=\"failed\"", Self.upstreamHandshakesHelp)

    case .accessLogLinesDropped:
      .counter(
        "martlet_access_log_lines_dropped_total",
        "Access log lines dropped because the log target was too slow or full.")
    case .spansDropped:
      .counter(
        "martlet_spans_dropped_total",
        "Spans dropped because the collector was too slow or did not respond.")
    }
  }

  private static var handshakesHelp: StaticString { "TLS handshakes with clients, by result." }
  private static var upstreamHandshakes: StaticString { "martlet_upstream_handshakes_total" }
  private static var upstreamHandshakesHelp: StaticString {
    "TLS handshakes with backends for requests, by result."
  }
  private static var retired: StaticString { "martlet_upstream_http2_retired_total" }
  private static var retiredHelp: StaticString {
    "HTTP/2 connections to backends that took no more requests, by reason."
  }
  private static var suite: StaticString { "martlet_tls_sessions_total" }
  private static var suiteHelp: StaticString {
    "TLS sessions, by negotiated version and cipher suite."
  }
  private static var turnedAway: StaticString { "martlet_downstream_connections_refused_total" }
  private static var turnedAwayHelp: StaticString {
    "Client connections closed immediately because a limit was reached, by limit."
  }
  private static var overload: StaticString { "martlet_overload_total" }
  private static var overloadHelp: StaticString { "How often an overload stage began." }
  private static var faultsHelp: StaticString { "Requests with a fault of their route (fault)." }
  private static var slow: StaticString { "martlet_slow_clients_total" }
  private static var slowHelp: StaticString {
    "Clients disconnected because they sent or received this part too slowly."
  }
  private static var responses: StaticString { "martlet_responses_total" }
  private static var responsesHelp: StaticString { "Responses sent to clients, by status class." }
  private static var tcp: StaticString { "martlet_tcp_connections_total" }
  private static var tcpHelp: StaticString {
    "Connections of TCP listeners that have ended, by result."
  }
  private static var udp: StaticString { "martlet_udp_sessions_total" }
  private static var udpHelp: StaticString {
    "Sessions of UDP listeners that have ended, by result."
  }
  private static var sticky: StaticString { "martlet_sticky_answers_total" }
  private static var stickyHelp: StaticString {
    "Responses of pools with stickiness. new: no valid cookie; kept, moved: same, other backend."
  }
  private static var received: StaticString { "martlet_received_bytes_total" }
  private static var receivedHelp: StaticString { "Bytes received, by side." }
  private static var sent: StaticString { "martlet_sent_bytes_total" }
  private static var sentHelp: StaticString { "Bytes sent, by side." }
}
