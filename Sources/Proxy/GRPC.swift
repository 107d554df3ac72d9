// gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): which requests are gRPC, and how its clients learn
// of an error of Martlet's own.
//
// Everything else about gRPC is HTTP/2: streams, trailers, flow control.

public import HTTP
import Primitives

extension RequestHead {
  /// Whether this is a call of gRPC: its messages are a stream, and its result is in the trailers.
  public var isGRPC: Bool {
    guard version == .http2, let type = fields.first(.contentType) else { return false }
    let name = ("application/grpc" as StaticString).bytes
    let value = bytes(of: type)
    // Also application/grpc+proto and the like, but not application/grpc-web (PROTOCOL-WEB.md).
    guard value.count >= name.count, value.extracting(first: name.count).equals(name) else {
      return false
    }
    return value.count == name.count || value[name.count] == 0x2B || value[name.count] == 0x3B
  }
}

/// A status of gRPC (grpc/doc/statuscodes.md).
public enum GRPCStatus {
  /// What stands for an HTTP status that no server of gRPC has sent. It is the mapping that clients
  /// use themselves (grpc/doc/http-grpc-status-mapping.md). A deadline of Martlet's is one.
  public static func code(forHTTP status: UInt16) -> UInt8 {
    switch status {
    case 400, 431: 13
    case 401: 16
    case 403: 7
    case 404: 12
    case 429, 502, 503: 14
    case 504: 4
    default: 2
    }
  }
}

extension ResponseHead {
  /// Turns an error into a response without a body that has the status of gRPC (Trailers-Only).
  /// - Parameter web: the form of gRPC-Web that the client uses; nil for gRPC itself.
  public mutating func becomeGRPCError(_ status: UInt16, _ web: GRPCWeb?) {
    self.status = 200
    fields.removeAll(of: .contentType)
    fields.append(.contentType, "application/grpc")
    if let web { _ = becomeGRPCWeb(web) }
    var code = ByteBuffer(capacity: 8)
    code.append(decimal: UInt64(GRPCStatus.code(forHTTP: status)))
    _ = fields.append(name: ("grpc-status" as StaticString).bytes, value: code.bytes)
    // Reason phrases have no character that must be encoded with percent signs.
    _ = fields.append(
      name: ("grpc-message" as StaticString).bytes, value: reasonPhrase(status).bytes)
  }
}

extension FieldBlock {
  /// The value of grpc-status, 0 to 16 and possibly more; nil if there is none.
  public var grpcStatus: UInt8? {
    for index in 0..<count where !self[index].isRemoved && self[index].known == nil {
      guard bytes(of: self[index].name).equalsIgnoringCase(("grpc-status" as StaticString).bytes)
      else { continue }
      return bytes(of: self[index].value).decimalValue.flatMap { UInt8(exactly: $0) }
    }
    return nil
  }
}
