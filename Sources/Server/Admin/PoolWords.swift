// Words for operators about a pool: what it carries, and what happens while no backend of it is
// healthy. Logs, `martlet status`, `explain` and `drain` have the same.

import Balancing

extension BackendProtocol {
  /// Whether a pool gets requests, which have responses and a version of HTTP.
  var isHTTP: Bool {
    switch self {
    case .http1, .http2, .auto: true
    case .tcp, .udp: false
    }
  }

  /// What a pool carries.
  var carried: String {
    switch self {
    case .http1, .http2, .auto: "requests"
    case .tcp: "connections"
    case .udp: "sessions"
    }
  }
}

extension AllDownPolicy {
  /// What happens while no backend is available.
  var effect: String {
    switch self {
    case .refuse: "requests are refused with 503"
    case .reset: "connections are reset"
    case .drop: "datagrams are dropped"
    case .failOpen: "all backends are used, healthy or not (when-all-down: fail-open)"
    }
  }
}

extension Pool {
  /// What happens now; nil while a backend is available.
  var effectOfOutage: String? {
    if isAnyHealthy { return nil }
    return isPanicking
      ? "all backends are used, healthy or not (panic-percent)" : allDown.effect
  }
}
