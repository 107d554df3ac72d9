// Why an exchange failed: the name in log and metrics, and the status that the client gets. The
// list is exhaustive, so every failure has a name.

public import Balancing

public enum ExchangeFailure: Error, Equatable, Sendable {
  /// The last attempt failed, and no further one was possible.
  case upstream(FailureCause)
  /// No member could be selected, and no attempt was made.
  case unavailable(Unavailability)
  case clientAborted
  /// The client did not read its response for too long.
  case clientStalled
  /// The client sent its request too slowly.
  case requestTimeout
  /// The deadline of a gRPC call has passed: its client's, or the maximum of the pool.
  case deadlineExceeded
  case bodyTooLarge
  /// The body's framing was invalid after a valid head.
  case malformedBody
  case noRoute
  /// A reload removed the listener of the request's connection.
  case listenerRemoved
  case notImplemented
  case malformedHead
  /// Memory is short, and new requests are refused for a while.
  case overloaded
  /// It was still active at the end of the drain time (`limits.drain`).
  case drainTimeout
  /// It was still active when Martlet got the order to stop at once.
  case stopped
  /// The route's `fault` answered it with an error.
  case faultInjected
  /// Nothing moved on a TCP connection for too long.
  case relayIdle
  /// A UDP session that was used the longest ago has ended for another one.
  case sessionEvicted

  /// The status that the client gets, unless the response has begun. 499 (from nginx) only appears
  /// in the log.
  public var status: UInt16 {
    switch self {
    case .upstream(let cause): cause.status
    case .unavailable(let reason): reason.status
    case .clientAborted, .clientStalled: 499
    case .requestTimeout: 408
    case .deadlineExceeded: 504
    case .bodyTooLarge: 413
    case .malformedBody, .malformedHead: 400
    case .noRoute: 404
    case .listenerRemoved: 421
    case .notImplemented: 501
    case .overloaded, .drainTimeout, .stopped, .faultInjected: 503
    // Nobody gets it: a TCP connection is reset, and a session just ends.
    case .relayIdle, .sessionEvicted: 504
    }
  }

  /// Its word in logs and metrics.
  public var word: FailureWord {
    switch self {
    case .upstream(let cause): cause.word
    case .unavailable(let reason): reason.word
    case .clientAborted: .clientAborted
    case .clientStalled: .clientStalled
    case .requestTimeout: .requestTimeout
    case .deadlineExceeded: .deadlineExceeded
    case .bodyTooLarge: .bodyTooLarge
    case .malformedBody: .malformedBody
    case .noRoute: .noRoute
    case .listenerRemoved: .listenerRemoved
    case .notImplemented: .notImplemented
    case .malformedHead: .malformedHead
    case .overloaded: .overloaded
    case .drainTimeout: .drainTimeout
    case .stopped: .stopped
    case .faultInjected: .faultInjected
    case .relayIdle: .relayIdle
    case .sessionEvicted: .sessionEvicted
    }
  }

  public var name: StaticString { word.name }
}
