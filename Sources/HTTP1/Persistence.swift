// Whether a connection may carry another message after this one (RFC 9112 9.3).
//
// This looks only at what the peer says. Limits, draining and broken bodies are the caller's. An
// HTTP/1.0 peer has to ask for persistence.

public import HTTP
import Primitives

extension RequestHead {
  public var persists: Bool { fields.permitPersistence(version) }
}

extension ResponseHead {
  /// `framing` is how this response's body is delimited.
  public func persists(framing: BodyFraming) -> Bool {
    if framing == .untilClose { return false }
    // A server may send the announced body in spite of the 204, and it would be read as the next
    // response (RFC 9110 8.6).
    if status == 204 && fields.announceBody { return false }
    return fields.permitPersistence(version)
  }
}

extension FieldBlock {
  fileprivate func permitPersistence(_ version: HTTPVersion) -> Bool {
    if contains(token: "close", in: .connection) { return false }
    return version != .http10 || contains(token: "keep-alive", in: .connection)
  }

  fileprivate var announceBody: Bool {
    if contains(.transferEncoding) { return true }
    guard let length = first(.contentLength) else { return false }
    return bytes(of: length).decimalValue != 0
  }
}
