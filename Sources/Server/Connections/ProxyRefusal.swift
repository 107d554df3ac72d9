// Why a connection was closed that should begin with a header of the PROXY protocol.

import Metrics
import ProxyProtocol

enum ProxyRefusal {
  /// The header is invalid, or something else.
  case invalid(ProxyProtocolError)
  /// The address that connects is not one of the listener's proxies.
  case notFromProxy
  /// The header was not complete in time.
  case timeout
  /// The connection ended within the header.
  case incomplete

  static let all =
    ProxyProtocolError.allCases.map(ProxyRefusal.invalid) + [.notFromProxy, .timeout, .incomplete]

  /// For logs and metrics.
  var name: StaticString {
    switch self {
    case .invalid(let error): error.name
    case .notFromProxy: "not-from-proxy"
    case .timeout: "header-timeout"
    case .incomplete: "incomplete-header"
    }
  }

  /// The counter.
  var word: CounterWord { CounterWord(place, name) }

  private var place: UInt8 {
    switch self {
    case .notFromProxy: 0
    case .timeout: 1
    case .incomplete: 2
    case .invalid(let error): 3 + error.rawValue
    }
  }
}
