// Counters of a worker that are split by a closed vocabulary, such as the causes of failures.
//
// The vocabulary is an enum of another target. Here it is only an index. The exposition gets the
// words from the enum, so that each word is spelled in one place and no table repeats it.

public enum SplitMetric: Int, CaseIterable, Sendable {
  /// By FailureWord.
  case failures
  /// By HTTP1Error.
  case requestsRefused, requestsTolerated, responsesTolerated
  /// By TLSFailure.Kind.
  case handshakeFailures, sessionFailures
  /// By HTTP2Error.
  case http2Errors
  case http2BackendErrors
  /// By ErrorCode of HTTP/2.
  case streamResetsReceived, streamResetsSent
  /// By ProxyRefusal.
  case proxyHeaderFailures

  /// The maximum number of words in a vocabulary.
  public static let placeCount = 96

  /// The family's name, the label that holds the word, and the help text.
  public var family: (name: StaticString, label: StaticString, help: StaticString) {
    switch self {
    case .failures: ("martlet_failures_total", "cause", "Exchanges that failed, by cause.")
    case .requestsRefused:
      (
        "martlet_requests_refused_total", "reason",
        "Requests refused because the head or the framing is malformed or too large, by reason."
      )
    case .requestsTolerated:
      (
        "martlet_requests_tolerated_total", "reason",
        "Requests with a fault that was repaired, by reason; see the listener's desync mode."
      )
    case .responsesTolerated:
      (
        "martlet_responses_tolerated_total", "reason",
        "Responses with a fault that was repaired, by reason; see the pool's desync mode."
      )
    case .handshakeFailures:
      (
        "martlet_handshake_failures_total", "reason",
        "TLS handshakes that failed, by reason."
      )
    case .sessionFailures:
      (
        "martlet_tls_session_failures_total", "reason",
        "TLS sessions that failed after their handshake, by reason."
      )
    case .http2Errors:
      (
        "martlet_http2_errors_total", "reason",
        "HTTP/2 requests, streams and connections that were refused or ended, by reason."
      )
    case .http2BackendErrors:
      (
        "martlet_upstream_http2_errors_total", "reason",
        "HTTP/2 responses, streams and connections of backends that were refused, by reason."
      )
    case .streamResetsReceived:
      (
        "martlet_http2_resets_received_total", "code",
        "HTTP/2 streams that clients reset, by error code."
      )
    case .streamResetsSent:
      (
        "martlet_http2_resets_sent_total", "code",
        "HTTP/2 streams that Martlet reset, by error code."
      )
    case .proxyHeaderFailures:
      (
        "martlet_proxy_header_failures_total", "reason",
        "Connections closed because they had no valid header of the PROXY protocol, by reason."
      )
    }
  }
}

/// A word of a vocabulary, with the index of its counter.
public struct CounterWord: Sendable {
  public let place: Int
  public let name: StaticString

  public init(_ place: UInt8, _ name: StaticString) {
    self.place = Int(place)
    self.name = name
  }
}

extension FamilyWriter {
  /// A family of the workers, with the words that were never counted too.
  public mutating func append(
    _ metric: SplitMetric, of snapshot: MetricsSnapshot, by words: [CounterWord]
  ) {
    let (name, label, help) = metric.family
    family("\(name)", .counter, "\(help)")
    for word in words {
      series("\(name)", [("\(label)", "\(word.name)")], "\(snapshot[metric, at: word.place])")
    }
  }
}
