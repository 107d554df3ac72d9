// Which counter an event belongs to.

import Balancing
import Metrics
import Proxy
import Reactor

extension Worker where IO: ~Copyable {
  func countResponse(status: UInt16) {
    if let metric = Metric.responses(status: Int(status)) { metrics.add(metric) }
  }

  func countFailure(_ failure: ExchangeFailure) {
    switch failure {
    case .upstream(let cause): metrics.add(Metric(cause))
    case .unavailable: metrics.add(.failuresNoMember)
    default: break
    }
  }
}

extension Metric {
  init(_ cause: FailureCause) {
    self =
      switch cause {
      case .connectRefused: .failuresRefused
      case .connectTimeout: .failuresConnectTimeout
      case .connectFailed: .failuresConnect
      case .resetBeforeResponse, .closedBeforeResponse: .failuresReset
      case .responseTimeout, .responseStalled: .failuresResponseTimeout
      case .badResponse: .failuresMalformed
      case .truncatedResponse: .failuresTruncated
      case .status: .failuresStatus
      }
  }
}

extension FailureCause {
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
