// The reason why a health check or a request failed, as a short text for the log, the admin API and
// the dashboard.

import Balancing
import Configuration
import Primitives

extension ActiveCheck {
  /// Such as `timeout after 2s` or `status 503, expected 200-399`. `isTLSAlert`: the response began
  /// as an alert of TLS.
  func reason(_ failure: FailureCause, isTLSAlert: Bool = false) -> String {
    switch failure {
    case .badResponse where isTLSAlert: "bad-response: a TLS alert; this port expects HTTPS"
    case .connectTimeout, .responseTimeout: "timeout after \(durationText(timeout))"
    case .status(let status): "status \(status), expected \(expectation)"
    case .badResponse: "bad-response: not a valid HTTP/1.1 response"
    default: failure.reason
    }
  }

  private var expectation: String {
    guard case .http(_, _, let expected) = kind else { return "a connection" }
    return expected.map {
      $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
    }.joined(separator: ", ")
  }
}

extension FailureCause {
  /// Its word, with the status if there is one.
  var reason: String {
    if case .status(let status) = self { "status \(status)" } else { "\(name)" }
  }
}
