// grpc-message of errors of Martlet's own: one short sentence, and the id of the request, with
// which the operator finds the log line.
//
// Like an error page, it has no cause and no backend: what happens behind Martlet is not for
// clients. What the client itself has done, such as a deadline that was too short, is told. The
// value is percent-encoded (grpc/doc/PROTOCOL-HTTP2.md, Responses).

public import Balancing
import HTTP
import Primitives

/// Why a call has failed here, in words for its client.
public struct GRPCMessage {
  private let failure: FailureWord?
  private let status: UInt16
  private let requestID: [UInt8]

  /// - Parameters:
  ///   - status: that of HTTP. It is all that is known without a failure.
  ///   - requestID: empty when there is none. It may come from the client, so it is left out unless
  ///     it is short and consists of visible characters.
  public init(_ failure: FailureWord?, http status: UInt16, requestID: [UInt8]) {
    self.failure = failure
    self.status = status
    self.requestID = requestID.span.isRequestID ? requestID : []
  }

  /// Such as `the call did not end before its deadline; request 5f0c`.
  func write(to output: inout ByteBuffer) {
    output.append(failure?.ownFault ?? Self.explanation(status))
    if requestID.isEmpty { return }
    output.append("; request ")
    // The texts above have no character that must be encoded; a test says so.
    for byte in requestID { output.append(percentEncoded: byte) }
  }

  /// Of failures that are no matter of the client.
  private static func explanation(_ status: UInt16) -> StaticString {
    switch status {
    case 500, 502: "the service is not working as it should"
    case 503: "the service is not available at the moment"
    case 504: "the service did not respond in time"
    default: errorReason(status)
    }
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
  /// What the client has done, in one short sentence; nil if the cause lies behind Martlet, or in
  /// it. docs/TROUBLESHOOTING.md says what the operator can do.
  fileprivate var ownFault: StaticString? {
    switch self {
    case .clientAborted: "the client cancelled the call"
    case .clientStalled: "the client did not read the response"
    case .requestTimeout: "the client sent the request too slowly"
    case .deadlineExceeded: "the call did not end before its deadline"
    case .bodyTooLarge: "the messages of the client are larger than is allowed"
    case .malformedBody, .malformedHead: "the request is invalid"
    case .noRoute: "there is no route for this host and path"
    case .listenerRemoved: "the host is not served here any more; connect again"
    case .notImplemented: "the request asks for something that is not supported"
    default: nil
    }
  }
}
