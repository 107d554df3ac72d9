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
    case .badResponse where talks: "bad-response: not the expected reply"
    case .badResponse where isTLSAlert: "bad-response: a TLS alert; this port expects HTTPS"
    case .connectTimeout, .responseTimeout: "timeout after \(durationText(timeout))"
    case .tlsTimeout: "tls-timeout after \(durationText(timeout))"
    case .status(let status): "status \(status), expected \(expectation)"
    case .badResponse: "bad-response: not a valid \(format) response"
    default: failure.reason
    }
  }

  private var talks: Bool { if case .talk = kind { true } else { false } }

  private var format: String {
    if case .grpc = kind { return "gRPC" }
    return switch spoken {
    case .http1: "HTTP/1.1"
    case .http2: "HTTP/2"
    case .auto, .tcp, .udp: "HTTP"
    }
  }

  private var expectation: String {
    guard case .http(_, _, let expected) = kind else { return "200" }
    return expected.map {
      $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
    }.joined(separator: ", ")
  }
}

extension BackendRecord {
  /// Why the last check failed, if it did.
  func failedCheck(_ check: ActiveCheck?) -> String? {
    guard let check, let result = checks.last, let failure = result.failure else { return nil }
    return check.reason(failure, isTLSAlert: result.isTLSAlert)
  }
}

extension FailureCause {
  /// Its word, with the status or the alert if there is one.
  var reason: String {
    switch self {
    case .status(let status): "status \(status)"
    case .tlsAlert(let number): "tls-alert \(number)\(Self.alertName(number))"
    case .grpcStatus(let number): "grpc-status \(number)\(Self.grpcName(number))"
    default: "\(name)"
    }
  }

  /// The statuses of a health check that fails (grpc/doc/statuscodes.md).
  private static func grpcName(_ number: UInt8) -> String {
    switch number {
    case 1: " (cancelled)"
    case 2: " (unknown)"
    case 4: " (deadline-exceeded)"
    case 5: " (not-found)"
    case 7: " (permission-denied)"
    case 8: " (resource-exhausted)"
    case 12: " (unimplemented)"
    case 13: " (internal)"
    case 14: " (unavailable)"
    case 16: " (unauthenticated)"
    default: ""
    }
  }

  /// The alerts that a backend sends because of its configuration or ours (RFC 8446 6, RFC 7301).
  private static func alertName(_ number: UInt8) -> String {
    switch number {
    case 40: " (handshake failure)"
    case 42: " (bad certificate)"
    case 43: " (unsupported certificate)"
    case 45: " (certificate expired)"
    case 46: " (certificate unknown)"
    case 48: " (unknown ca)"
    case 49: " (access denied)"
    case 70: " (protocol version)"
    case 80: " (internal error)"
    case 112: " (unrecognized name)"
    case 116: " (certificate required)"
    case 120: " (no application protocol)"
    default: ""
    }
  }
}
