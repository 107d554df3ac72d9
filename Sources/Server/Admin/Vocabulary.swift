// The words of the counters that are split by a vocabulary, from the enums themselves.

import Balancing
import HTTP1
import HTTP2
import Metrics
import TLS

extension SplitMetric {
  /// Its words, in the order of the exposition.
  var words: [CounterWord] {
    switch self {
    case .failures: FailureWord.allCases.map(CounterWord.init)
    case .requestsRefused:
      HTTP1Error.allCases.filter { !$0.isOfResponses }.map(CounterWord.init)
    case .requestsTolerated: HTTP1Error.tolerable.map(CounterWord.init)
    case .responsesTolerated: HTTP1Error.tolerableInResponses.map(CounterWord.init)
    case .handshakeFailures:
      TLSFailure.Kind.allCases.filter { $0 != .recordFlood && $0 != .ended }.map(CounterWord.init)
    case .sessionFailures:
      [TLSFailure.Kind.recordFlood, .peerAlert, .badCertificate, .other].map(CounterWord.init)
    case .http2Errors, .http2BackendErrors: HTTP2Error.allCases.map(CounterWord.init)
    case .streamResetsReceived, .streamResetsSent: ErrorCode.allCases.map(CounterWord.init)
    case .proxyHeaderFailures: ProxyRefusal.all.map(\.word)
    }
  }
}

extension CounterWord {
  init(_ word: FailureWord) { self.init(word.rawValue, word.name) }
  init(_ error: HTTP1Error) { self.init(error.rawValue, error.name) }
  init(_ error: HTTP2Error) { self.init(error.rawValue, error.name) }
  init(_ code: ErrorCode) { self.init(UInt8(code.rawValue), code.name) }
  init(_ kind: TLSFailure.Kind) { self.init(kind.rawValue, kind.name) }

  /// The words for the failed attempts of a backend.
  static let ofAttempts = FailureWord.ofAttempts.map(CounterWord.init)
}
