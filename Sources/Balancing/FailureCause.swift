// How an attempt at a backend can fail, and the status that the client gets if the exchange ends
// with it. FailureWord has the words for logs and metrics.

/// Why an attempt failed.
public enum FailureCause: Equatable, Sendable {
  /// The backend refused the connection.
  case connectRefused
  /// The connection wasn't established in time.
  case connectTimeout
  /// Connecting failed for another reason, such as no route to the host.
  case connectFailed
  /// The connection was reset before the first byte of the response.
  case resetBeforeResponse
  /// The backend closed the connection (FIN) before the first byte of the response.
  case closedBeforeResponse
  /// The response head didn't arrive in time.
  case responseTimeout
  /// The response isn't HTTP, or is ambiguous.
  case badResponse
  /// The connection ended within the response body.
  case truncatedResponse
  /// The response body stopped arriving for too long.
  case responseStalled
  /// A response with a status that the retry policy lists.
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

  /// The cause for a word; nil if the word is not about an attempt. `status` is used only for the
  /// word `status`.
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

  /// The status of the answer if the exchange ends with this failure: 504 for a timeout, the
  /// backend's own status if it sent one, else 502 (RFC 9110 15.6.3, 15.6.5).
  public var status: UInt16 {
    switch self {
    case .connectTimeout, .responseTimeout, .responseStalled: 504
    case .connectRefused, .connectFailed, .resetBeforeResponse, .closedBeforeResponse,
      .badResponse, .truncatedResponse:
      502
    case .status(let status): status
    }
  }

  /// No connection was established.
  var isDialFailure: Bool {
    switch self {
    case .connectRefused, .connectTimeout, .connectFailed: true
    default: false
    }
  }

  /// The connection ended before the first byte of the response.
  var isDeath: Bool { self == .resetBeforeResponse || self == .closedBeforeResponse }

  /// The same backend would fail again in the same way, so only another one is worth an attempt.
  public var spendsBackend: Bool { isCharged }

  /// The retry budget counts retries after these failures, since they add work to a pool that
  /// already struggles. After the other failures, no backend has done any work.
  var isCharged: Bool {
    switch self {
    case .responseTimeout, .status: true
    default: false
    }
  }
}
