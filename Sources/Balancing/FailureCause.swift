// How an attempt at a backend can fail, and the status that the client gets if the exchange ends
// with it. FailureWord has the words for logs and metrics.

/// Why an attempt failed.
public enum FailureCause: Equatable, Sendable {
  /// The dial was refused.
  case connectRefused
  /// The dial wasn't answered in time.
  case connectTimeout
  /// The dial failed otherwise: no route, or a failed TLS handshake with the backend.
  case connectFailed
  /// The connection was reset before a byte of the response.
  case resetBeforeResponse
  /// The backend closed the connection in order before a byte of the response.
  case closedBeforeResponse
  /// The response's head didn't come in time.
  case responseTimeout
  /// What came isn't HTTP, or is ambiguous.
  case badResponse
  /// The connection ended within the response's body.
  case truncatedResponse
  /// Nothing more of the response's body came for too long.
  case responseStalled
  /// A response with a status that the retry policy names.
  case status(UInt16)

  /// Its word in logs and metrics.
  public var word: FailureWord {
    switch self {
    case .connectRefused: .connectRefused
    case .connectTimeout: .connectTimeout
    case .connectFailed: .connectFailed
    case .resetBeforeResponse: .resetBeforeResponse
    case .closedBeforeResponse: .closedBeforeResponse
    case .responseTimeout: .responseTimeout
    case .badResponse: .badResponse
    case .truncatedResponse: .truncatedResponse
    case .responseStalled: .responseStalled
    case .status: .status
    }
  }

  public var name: StaticString { word.name }

  /// The cause of a word; nil for a word that is of no attempt. `status` is for `status` alone.
  public init?(_ word: FailureWord, status: UInt16) {
    switch word {
    case .connectRefused: self = .connectRefused
    case .connectTimeout: self = .connectTimeout
    case .connectFailed: self = .connectFailed
    case .resetBeforeResponse: self = .resetBeforeResponse
    case .closedBeforeResponse: self = .closedBeforeResponse
    case .responseTimeout: self = .responseTimeout
    case .badResponse: self = .badResponse
    case .truncatedResponse: self = .truncatedResponse
    case .responseStalled: self = .responseStalled
    case .status: self = .status(status)
    default: return nil
    }
  }

  /// The status of the answer if the exchange ends with this: 504 for a time-out, 502 for any other
  /// failure (RFC 9110 15.6.3, 15.6.5), and the backend's own if it gave one.
  public var status: UInt16 {
    switch self {
    case .connectTimeout, .responseTimeout, .responseStalled: 504
    case .connectRefused, .connectFailed, .resetBeforeResponse, .closedBeforeResponse,
      .badResponse, .truncatedResponse:
      502
    case .status(let status): status
    }
  }

  /// No connection came about.
  var isDialFailure: Bool {
    switch self {
    case .connectRefused, .connectTimeout, .connectFailed: true
    default: false
    }
  }

  /// The connection ended before a byte of the response.
  var isDeath: Bool { self == .resetBeforeResponse || self == .closedBeforeResponse }

  /// The backend would fail again in the same way, so only another one is worth an attempt.
  public var spendsBackend: Bool { isCharged }

  /// Retries after these mean more work for a pool that struggles already, so the budget pays. The
  /// others brought no backend any work.
  var isCharged: Bool {
    switch self {
    case .responseTimeout, .status: true
    default: false
    }
  }
}
