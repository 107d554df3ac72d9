// ExchangeFailure: each case has its own name and the right status.

import Balancing
import Proxy
import Testing

@Suite struct ExchangeFailureTests {
  static let causes: [(FailureCause, UInt16)] = [
    (.connectRefused, 502), (.connectTimeout, 504), (.connectFailed, 502),
    (.tlsUntrusted, 502), (.tlsExpired, 502), (.tlsWrongName, 502), (.tlsSelfSigned, 502),
    (.tlsPin, 502), (.tlsNotSpoken, 502), (.tlsAlert(40), 502), (.tlsTimeout, 504),
    (.tlsFailed, 502), (.noHTTP2, 502), (.pingTimeout, 504), (.grpcNotServing, 502),
    (.resetBeforeResponse, 502), (.closedBeforeResponse, 502), (.responseTimeout, 504),
    (.badResponse, 502), (.truncatedResponse, 502), (.responseStalled, 504),
    (.relayReset, 502),
    (.grpcStatus(14), 503), (.status(503), 503), (.notProcessed, 502), (.noExtendedConnect, 502),
  ]
  static let failures: [(ExchangeFailure, UInt16)] =
    causes.map { (.upstream($0.0), $0.1) } + [
      (.unavailable(.noMembers), 503), (.unavailable(.allDown), 503),
      (.unavailable(.allFull), 503), (.clientAborted, 499), (.clientStalled, 499),
      (.requestTimeout, 408), (.deadlineExceeded, 504), (.bodyTooLarge, 413),
      (.malformedBody, 400), (.noRoute, 404),
      (.listenerRemoved, 421), (.notImplemented, 501), (.malformedHead, 400),
      (.overloaded, 503), (.drainTimeout, 503), (.stopped, 503), (.faultInjected, 503),
      (.relayIdle, 504), (.sessionEvicted, 504),
    ]

  @Test(arguments: failures) func eachHasItsStatus(failure: ExchangeFailure, status: UInt16) {
    #expect(failure.status == status)
  }

  @Test func namesAreUniqueAndInKebabCase() {
    let names = Self.failures.map { "\($0.0.name)" }
    #expect(Set(names).count == names.count)
    for name in names {
      let words = name.split(separator: "-", omittingEmptySubsequences: false)
      let isKebab = words.allSatisfy {
        !$0.isEmpty && $0.utf8.allSatisfy { $0 &- 0x61 < 26 || $0 &- 0x30 < 10 }
      }
      #expect(isKebab, "\(name)")
    }
  }

  /// Fails to compile when a case is added, so that it is added to the table above too.
  @Test func theTableIsComplete() {
    for (failure, _) in Self.failures {
      switch failure {
      case .upstream, .unavailable, .clientAborted, .clientStalled, .requestTimeout,
        .deadlineExceeded, .bodyTooLarge, .malformedBody, .noRoute, .listenerRemoved,
        .notImplemented, .malformedHead, .overloaded, .drainTimeout, .stopped, .faultInjected,
        .relayIdle, .sessionEvicted:
        break
      }
    }
    #expect(Self.failures.count == 45)
  }
}
