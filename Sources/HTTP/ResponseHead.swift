// A response without its body: status and fields, whatever version it came by.
//
// Scratch memory like `RequestHead`. An interim response (1xx) is a head of its own; the final one
// follows it.

import Primitives

public struct ResponseHead: ~Copyable {
  public var version: HTTPVersion = .http11
  /// 100-599.
  public var status: UInt16 = 200
  /// As sent by HTTP/1; empty when there is none, and then an HTTP/1 encoder puts the usual one.
  public var reason: Slice = .empty
  public var fields = FieldBlock()

  public init() {}

  /// Forgets everything but the memory.
  public mutating func reset() {
    fields.reset()
    clear()
  }

  /// Begins anew with the text of a head in the block; a codec then fills in the rest.
  public mutating func adopt(_ head: Span<UInt8>) {
    fields.adopt(head)
    clear()
  }

  @_lifetime(borrow self)
  @inlinable @inline(__always)
  public func bytes(of slice: Slice) -> Span<UInt8> { fields.bytes(of: slice) }

  /// Another response to the same request will follow. 101 is not interim: it ends the request.
  public var isInterim: Bool { status < 200 && status != 101 }

  private mutating func clear() {
    version = .http11
    status = 200
    reason = .empty
  }
}
