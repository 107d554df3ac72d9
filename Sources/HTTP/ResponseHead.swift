// A response without its body: status and fields, for every HTTP version.
//
// Scratch memory like `RequestHead`. An interim response (1xx) is a separate head; the final one
// follows it.

import Primitives

public struct ResponseHead: ~Copyable {
  public var version: HTTPVersion = .http11
  /// 100-599.
  public var status: UInt16 = 200
  /// As sent by HTTP/1. If it is empty, an HTTP/1 encoder writes the usual one.
  public var reason: Slice = .empty
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

  /// Another response to the same request will follow. 101 is not interim: it ends the request.
  public var isInterim: Bool { status < 200 && status != 101 }

  private mutating func clear() {
    version = .http11
    status = 200
    reason = .empty
  }
}
