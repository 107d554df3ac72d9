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
  /// No trusted authority has signed the backend's certificate.
  case tlsUntrusted
  /// The backend's certificate has expired, or isn't valid yet.
  case tlsExpired
  /// The backend's certificate is for other names.
  case tlsWrongName
  /// The backend's certificate is self-signed, and isn't trusted itself.
  case tlsSelfSigned
  /// The key of the backend's certificate is none of the pinned ones.
  case tlsPin
  /// The backend doesn't speak TLS.
  case tlsNotSpoken
  /// The backend ended the TLS session with a fatal alert, by its number (RFC 8446 6).
  case tlsAlert(UInt8)
  /// The TLS handshake wasn't complete in time.
  case tlsTimeout
  /// The TLS handshake failed for another reason, such as the end of the connection.
  case tlsFailed
  /// The pool wants HTTP/2, and the backend doesn't speak it.
  case noHTTP2
  /// The connection was reset before the first byte of the response.
  case resetBeforeResponse
  /// The backend closed the connection (FIN) before the first byte of the response.
  case closedBeforeResponse
  /// Nothing came on the HTTP/2 connection for some time, not even the answer to a PING.
  case pingTimeout
  /// The response head didn't arrive in time.
  case responseTimeout
  /// The response isn't HTTP, or is ambiguous.
  case badResponse
  /// The connection ended within the response body.
  case truncatedResponse
  /// The response body stopped arriving for too long.
  case responseStalled
  /// The backend reset a TCP connection on which it had sent something.
  case relayReset
  /// A health check of gRPC was answered, but not with SERVING.
  case grpcNotServing
  /// A gRPC call that failed at once with a status that the retry policy lists, or a health check
  /// of gRPC that ended with this status (grpc/doc/statuscodes.md).
  case grpcStatus(UInt8)
  /// A response with a status that the retry policy lists.
  case status(UInt16)
  /// The backend has not begun the request, and said so (RFC 9113 8.7): it is not a failure.
  case notProcessed
  /// The backend speaks HTTP/2, but not the extension that an upgrade needs (RFC 8441).
  case noExtendedConnect

  /// Whether it counts as a failed attempt at its backend.
  public var isOfBackend: Bool { self != .notProcessed && self != .noExtendedConnect }

  /// Its word in logs and metrics.
  public var word: FailureWord {
    switch self {
    case .connectRefused: .connectRefused
    case .connectTimeout: .connectTimeout
    case .connectFailed: .connectFailed
    case .tlsUntrusted: .tlsUntrusted
    case .tlsExpired: .tlsExpired
    case .tlsWrongName: .tlsWrongName
    case .tlsSelfSigned: .tlsSelfSigned
    case .tlsPin: .tlsPin
    case .tlsNotSpoken: .tlsNotSpoken
    case .tlsAlert: .tlsAlert
    case .tlsTimeout: .tlsTimeout
    case .tlsFailed: .tlsFailed
    case .noHTTP2: .noHTTP2
    case .resetBeforeResponse: .resetBeforeResponse
    case .closedBeforeResponse: .closedBeforeResponse
    case .pingTimeout: .pingTimeout
    case .responseTimeout: .responseTimeout
    case .badResponse: .badResponse
    case .truncatedResponse: .truncatedResponse
    case .responseStalled: .responseStalled
    case .relayReset: .relayReset
    case .grpcNotServing: .grpcNotServing
    case .grpcStatus: .grpcStatus
    case .status: .status
    case .notProcessed: .notProcessed
    case .noExtendedConnect: .noExtendedConnect
    }
  }

  public var name: StaticString { word.name }

  /// The cause for a word; nil if the word is not about an attempt. `number` is the status or the
  /// number of the alert, if the cause has one.
  public init?(_ word: FailureWord, number: UInt16) {
    switch word {
    case .connectRefused: self = .connectRefused
    case .connectTimeout: self = .connectTimeout
    case .connectFailed: self = .connectFailed
    case .tlsUntrusted: self = .tlsUntrusted
    case .tlsExpired: self = .tlsExpired
    case .tlsWrongName: self = .tlsWrongName
    case .tlsSelfSigned: self = .tlsSelfSigned
    case .tlsPin: self = .tlsPin
    case .tlsNotSpoken: self = .tlsNotSpoken
    case .tlsAlert: self = .tlsAlert(UInt8(truncatingIfNeeded: number))
    case .tlsTimeout: self = .tlsTimeout
    case .tlsFailed: self = .tlsFailed
    case .noHTTP2: self = .noHTTP2
    case .resetBeforeResponse: self = .resetBeforeResponse
    case .closedBeforeResponse: self = .closedBeforeResponse
    case .pingTimeout: self = .pingTimeout
    case .responseTimeout: self = .responseTimeout
    case .badResponse: self = .badResponse
    case .truncatedResponse: self = .truncatedResponse
    case .responseStalled: self = .responseStalled
    case .relayReset: self = .relayReset
    case .grpcNotServing: self = .grpcNotServing
    case .grpcStatus: self = .grpcStatus(UInt8(truncatingIfNeeded: number))
    case .status: self = .status(number)
    case .notProcessed: self = .notProcessed
    case .noExtendedConnect: self = .noExtendedConnect
    default: return nil
    }
  }

  /// The status of the answer if the exchange ends with this failure: 504 for a timeout, the
  /// backend's own status if it sent one, else 502 (RFC 9110 15.6.3, 15.6.5).
  public var status: UInt16 {
    switch self {
    case .connectTimeout, .tlsTimeout, .pingTimeout, .responseTimeout, .responseStalled: 504
    case .connectRefused, .connectFailed, .tlsUntrusted, .tlsExpired, .tlsWrongName,
      .tlsSelfSigned, .tlsPin, .tlsNotSpoken, .tlsAlert, .tlsFailed, .noHTTP2,
      .resetBeforeResponse, .closedBeforeResponse, .badResponse, .truncatedResponse,
      .relayReset, .grpcNotServing, .notProcessed, .noExtendedConnect:
      502
    // Clients know the status of the call, which is kept.
    case .grpcStatus: 503
    case .status(let status): status
    }
  }

  /// The connection ended before the first byte of the response.
  var isDeath: Bool {
    self == .resetBeforeResponse || self == .closedBeforeResponse
  }

  /// The same backend would fail again in the same way, so only another one is worth an attempt.
  public var spendsBackend: Bool { isCharged }

  /// The retry budget counts retries after these failures, since they add work to a pool that
  /// already struggles. After the other failures, no backend has done any work.
  var isCharged: Bool {
    switch self {
    case .responseTimeout, .grpcStatus, .status: true
    default: false
    }
  }
}
