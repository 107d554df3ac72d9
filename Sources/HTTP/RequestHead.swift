// A request without its body: method, target and fields, for every HTTP version.
//
// All text is in the block of `fields`; the head holds positions. It is scratch memory of a worker:
// it is reset, filled by a codec, edited by the proxy, and read by another codec. A slice is valid
// only until the next reset. Persistence and framing are specific to HTTP/1, and are in HTTP1.

import Primitives

public struct RequestHead: ~Copyable {
  public var version: HTTPVersion = .http11
  public var method: Method = .get
  /// The method as it was sent.
  public var methodName: Slice = .empty
  /// The whole target as it was sent, for logs.
  public var target: Slice = .empty
  public var targetForm: TargetForm = .origin
  /// Without `://`; empty unless the target contains one.
  public var scheme: Slice = .empty
  /// Host and port of the request: from the target if it contains them (RFC 9112 3.2.2), else from
  /// Host. Empty when neither exists, which only HTTP/1.0 allows. The Host field always has the
  /// same value.
  public var authority: Slice = .empty
  /// The host of `authority`, as sent; an IPv6 address keeps its brackets.
  public var host: Slice = .empty
  /// The port of `authority`.
  public var port: UInt16? = nil
  /// Begins with `/`; `*` for the asterisk form; empty for the authority form.
  public var path: Slice = .empty
  /// After the `?`; nil when there is none.
  public var query: Slice? = nil
  public var expect: Expect = .none
  /// What an extended CONNECT asks for, such as `websocket` (RFC 8441); empty for other requests.
  public var connectProtocol: Slice = .empty
  public var fields = FieldBlock()

  public init() {}

  /// Empties the head, but keeps the memory.
  public mutating func reset() {
    fields.reset()
    clear()
  }

  /// Resets the head and stores the text of a new one in the block. A codec then fills in the rest.
  public mutating func adopt(_ head: Span<UInt8>) {
    fields.adopt(head)
    clear()
  }

  @_lifetime(borrow self)
  @inlinable @inline(__always)
  public func bytes(of slice: Slice) -> Span<UInt8> { fields.bytes(of: slice) }

  /// The client waits for 100 (Continue) before it sends the body (RFC 9110 10.1.1).
  public var expectsContinue: Bool { expect == .continue }

  private mutating func clear() {
    version = .http11
    method = .get
    methodName = .empty
    target = .empty
    targetForm = .origin
    scheme = .empty
    authority = .empty
    host = .empty
    port = nil
    path = .empty
    query = nil
    expect = .none
    connectProtocol = .empty
  }
}

/// How the target was written (RFC 9112 3.2). HTTP/2 has the same four cases in its pseudo-fields.
public enum TargetForm: Sendable {
  /// `/path?query`
  case origin
  /// `http://host/path?query`, as sent to proxies.
  case absolute
  /// `host:port`, with CONNECT only.
  case authority
  /// `*`, with OPTIONS only: the server as a whole.
  case asterisk
}

/// What the Expect field asks for. HTTP/1.0 can't ask (RFC 9110 10.1.1).
public enum Expect: Sendable {
  case none, `continue`
  /// Something that is not defined: 417 (Expectation Failed).
  case unknown
}
