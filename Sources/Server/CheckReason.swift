// The reason why a health check failed, as a short text for the log, the admin API and the
// dashboard.

import Balancing
import Configuration
import Primitives

extension ActiveCheck {
  /// Such as `timeout after 2s` or `status 503, expected 200-399`.
  func reason(_ failure: FailureCause) -> String {
    switch failure {
    case .connectTimeout, .responseTimeout: "timeout after \(durationText(timeout))"
    case .status(let status): "status \(status), expected \(expectation)"
    case .badResponse: "bad-response: not a valid HTTP/1.1 response"
    default: "\(failure.name)"
    }
  }

  private var expectation: String {
    guard case .http(_, _, let expected) = kind else { return "a connection" }
    return expected.map {
      $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
    }.joined(separator: ", ")
  }
}
