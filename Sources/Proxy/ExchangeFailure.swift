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
    case .overloaded: 503
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
    case .bodyTooLarge: .bodyTooLarge
    case .malformedBody: .malformedBody
    case .noRoute: .noRoute
    case .listenerRemoved: .listenerRemoved
    case .notImplemented: .notImplemented
    case .malformedHead: .malformedHead
    case .overloaded: .overloaded
    }
  }

  public var name: StaticString { word.name }
}
