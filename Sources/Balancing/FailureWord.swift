// The vocabulary of failures: the words of the access log, the metrics, traces, the admin API, the
// dashboard and docs/TROUBLESHOOTING.md.
//
// FailureCause, Unavailability and ExchangeFailure describe what happened, with details. Each has
// one of these words, and no other code names a failure. The raw value is the index of its
// counters.

public enum FailureWord: UInt8, CaseIterable, Sendable {
  // Failures of an attempt or of a health check. They come first, so that the counters of a backend
  // need only these.
  case connectRefused, connectTimeout, connectFailed
  case tlsUntrusted, tlsExpired, tlsWrongName, tlsSelfSigned, tlsPin
  case tlsNotSpoken, tlsAlert, tlsTimeout, tlsFailed, noHTTP2
  case resetBeforeResponse, closedBeforeResponse, pingTimeout
  case responseTimeout, badResponse, truncatedResponse, responseStalled
  case relayReset
  case grpcNotServing, grpcStatus, status
  // Ends of an attempt for which the backend is not to blame: it has not begun the request, or
  // doesn't offer what the client wants.
  case notProcessed, noExtendedConnect
  // No backend could be used.
  case noMembers, allDown, allFull, queueFull, queueTimeout
  // Failures of the client, or in its request.
  case clientAborted, clientStalled, requestTimeout, deadlineExceeded
  case bodyTooLarge, malformedBody, malformedHead
  case noRoute, listenerRemoved, notImplemented
  // Failures in Martlet itself.
  case overloaded, drainTimeout, stopped, faultInjected, relayIdle, sessionEvicted

  /// The words for failures of a backend.
  public static let ofAttempts = allCases.filter { $0.rawValue <= FailureWord.status.rawValue }

  /// The word, in kebab case.
  public var name: StaticString {
    switch self {
    case .connectRefused: "connect-refused"
    case .connectTimeout: "connect-timeout"
    case .connectFailed: "connect-failed"
    case .tlsUntrusted: "tls-untrusted"
    case .tlsExpired: "tls-expired"
    case .tlsWrongName: "tls-wrong-name"
    case .tlsSelfSigned: "tls-self-signed"
    case .tlsPin: "tls-pin"
    case .tlsNotSpoken: "tls-not-spoken"
    case .tlsAlert: "tls-alert"
    case .tlsTimeout: "tls-timeout"
    case .tlsFailed: "tls-failed"
    case .noHTTP2: "no-http2"
    case .resetBeforeResponse: "reset-before-response"
    case .closedBeforeResponse: "closed-before-response"
    case .pingTimeout: "ping-timeout"
    case .responseTimeout: "response-timeout"
    case .badResponse: "bad-response"
    case .truncatedResponse: "truncated-response"
    case .responseStalled: "response-stalled"
    case .relayReset: "relay-reset"
    case .grpcNotServing: "grpc-not-serving"
    case .grpcStatus: "grpc-status"
    case .status: "status"
    case .notProcessed: "not-processed"
    case .noExtendedConnect: "no-extended-connect"
    case .noMembers: "no-members"
    case .allDown: "all-down"
    case .allFull: "all-full"
    case .queueFull: "queue-full"
    case .queueTimeout: "queue-timeout"
    case .clientAborted: "client-aborted"
    case .clientStalled: "client-stalled"
    case .requestTimeout: "request-timeout"
    case .deadlineExceeded: "deadline-exceeded"
    case .bodyTooLarge: "body-too-large"
    case .malformedBody: "malformed-body"
    case .malformedHead: "malformed-head"
    case .noRoute: "no-route"
    case .listenerRemoved: "listener-removed"
    case .notImplemented: "not-implemented"
    case .overloaded: "overloaded"
    case .drainTimeout: "drain-timeout"
    case .stopped: "stopped"
    case .faultInjected: "fault-injected"
    case .relayIdle: "relay-idle"
    case .sessionEvicted: "session-evicted"
    }
  }
}
