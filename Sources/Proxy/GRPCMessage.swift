// grpc-message of errors of Martlet's own: the word of the failure, what it means for the developer
// of a client, and the id of the request, with which the operator finds the log line.
//
// It names no backend, and nothing that a backend has sent. The value is percent-encoded
// (grpc/doc/PROTOCOL-HTTP2.md, Responses).

public import Balancing
import HTTP
import Primitives

/// Why a call has failed here, in words for its client.
public struct GRPCMessage {
  private let failure: FailureWord?
  private let reason: StaticString?
  private let status: UInt16
  private let requestID: [UInt8]

  /// - Parameters:
  ///   - status: that of HTTP. It is all that is known without a failure.
  ///   - requestID: empty when there is none. It may come from the client, so it is left out unless
  ///     it is short and consists of visible characters.
  public init(
    _ failure: FailureWord?, reason: StaticString?, http status: UInt16, requestID: [UInt8]
  ) {
    self.failure = failure
    self.reason = reason
    self.status = status
    self.requestID = requestID.span.isRequestID ? requestID : []
  }

  /// Such as `deadline-exceeded (grpc-timeout): the call did not end in time; request 5f0c`.
  func write(to output: inout ByteBuffer) {
    if let failure {
      output.append(failure.name)
    } else {
      output.append(decimal: UInt64(status))
    }
    if let reason {
      output.append(" (")
      output.append(reason)
      output.append(")")
    }
    output.append(": ")
    output.append(failure?.explanation ?? errorReason(status))
    if requestID.isEmpty { return }
    output.append("; request ")
    // The texts above have no character that must be encoded; a test says so.
    for byte in requestID { output.append(percentEncoded: byte) }
  }
}

extension ByteBuffer {
  /// Visible characters but the percent sign stay as they are.
  fileprivate mutating func append(percentEncoded byte: UInt8) {
    if (0x20...0x7E).contains(byte) && byte != 0x25 { return append(byte) }
    let digits = ("0123456789ABCDEF" as StaticString).bytes
    append(0x25)
    append(digits[Int(byte >> 4)])
    append(digits[Int(byte & 15)])
  }
}

extension FailureWord {
  /// What it means for a client, in one short sentence. docs/TROUBLESHOOTING.md says what the
  /// operator can do.
  var explanation: StaticString {
    switch self {
    case .connectRefused, .connectFailed: "the server can't be reached"
    case .connectTimeout: "the server could not be reached in time"
    case .tlsUntrusted, .tlsExpired, .tlsWrongName, .tlsSelfSigned, .tlsPin:
      "the certificate of the server was not accepted"
    case .tlsNotSpoken, .tlsAlert, .tlsFailed: "there is no TLS session with the server"
    case .tlsTimeout: "the TLS handshake with the server took too long"
    case .noHTTP2: "the server does not speak HTTP/2, which gRPC needs"
    case .resetBeforeResponse: "the server reset the call before its response"
    case .closedBeforeResponse: "the server closed the connection before its response"
    case .pingTimeout: "the server does not respond any more"
    case .responseTimeout: "the server did not respond in time"
    case .badResponse: "the response of the server was invalid"
    case .truncatedResponse: "the server broke its response off"
    case .relayReset: "the server reset the connection"
    case .responseStalled, .relayIdle, .sessionEvicted:
      "neither side sent anything for too long"
    case .grpcNotServing, .grpcStatus, .status: "the server failed the call"
    case .notProcessed: "the server has not begun the call"
    case .noExtendedConnect: "the server does not offer what the request needs"
    case .noMembers, .allDown: "no server is available"
    case .allFull, .queueFull: "all servers are busy"
    case .queueTimeout: "all servers are busy, and none became free in time"
    case .clientAborted: "the client cancelled the call"
    case .clientStalled: "the client did not read the response"
    case .requestTimeout: "the client sent the request too slowly"
    case .deadlineExceeded: "the call did not end before its deadline"
    case .bodyTooLarge: "the messages of the client are larger than is allowed"
    case .malformedBody, .malformedHead: "the request is invalid"
    case .noRoute: "there is no route for this host and path"
    case .listenerRemoved: "the host is not served here any more; connect again"
    case .notImplemented: "the request asks for something that is not supported"
    case .overloaded: "the proxy is short of memory"
    case .drainTimeout, .stopped: "the proxy is stopping"
    case .faultInjected: "this is a fault for a test"
    }
  }
}
