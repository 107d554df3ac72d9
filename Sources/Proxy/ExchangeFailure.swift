// Why an exchange didn't simply succeed: the name in the log and the metrics, and the status that
// the client sees. One exhaustive list, so that no failure goes without a name.

public import Balancing

public enum ExchangeFailure: Error, Equatable, Sendable {
  /// The last attempt failed, and no other could be made.
  case upstream(FailureCause)
  /// No member could be selected, and no attempt was made.
  case unavailable(Unavailability)
  case clientAborted
  /// The client took nothing of its answer for too long.
  case clientStalled
  /// The client sent its request too slowly.
  case requestTimeout
  case bodyTooLarge
  /// The body's framing broke after a valid head.
  case malformedBody
  case noRoute
  /// A reload removed the listener whose connection the request came by.
  case listenerRemoved
  case notImplemented
  case malformedHead
  /// Memory ran short, and new requests are refused for a while.
  case overloaded
  /// It was still under way at the end of the drain time (`limits.drain`).
  case drainTimeout
  /// It was still under way when Martlet was told to stop at once.
  case stopped

  /// What the client is answered, if nothing was sent yet. 499 (nginx's) only appears in the log.
  public var status: UInt16 {
    switch self {
    case .upstream(let cause): cause.status
    case .unavailable(let reason): reason.status
    case .clientAborted, .clientStalled: 499
    case .requestTimeout: 408
    case .bodyTooLarge: 413
    case .malformedBody, .malformedHead: 400
    case .noRoute: 404
    case .listenerRemoved: 421
    case .notImplemented: 501
    case .overloaded, .drainTimeout, .stopped: 503
    }
  }

  public var name: StaticString {
    switch self {
    case .upstream(let cause): cause.name
    case .unavailable(let reason): reason.name
    case .clientAborted: "client-aborted"
    case .clientStalled: "client-stalled"
    case .requestTimeout: "request-timeout"
    case .bodyTooLarge: "body-too-large"
    case .malformedBody: "malformed-body"
    case .noRoute: "no-route"
    case .listenerRemoved: "listener-removed"
    case .notImplemented: "not-implemented"
    case .malformedHead: "malformed-head"
    case .overloaded: "overloaded"
    case .drainTimeout: "drain-timeout"
    case .stopped: "stopped"
    }
  }
}
