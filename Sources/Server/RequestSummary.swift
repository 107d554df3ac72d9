// What the access log, and the answer, need of a request after its head is gone: positions in a
// text that the exchange keeps.

import HTTP
import Primitives
import Proxy

struct RequestSummary {
  let method: Method
  let version: HTTPVersion
  let methodName: Slice
  let target: Slice
  let host: Slice
  let userAgent: Slice
  let referer: Slice
  /// Empty for none.
  let requestID: Slice
  /// Of the trace that it belongs to; empty for none.
  let traceID: Slice
  /// The client behind trusted proxies.
  let client: IPAddress?
  /// The protocol that the client asked to switch to; empty for none.
  let upgrade: Slice

  /// Copies what it points to behind what `text` holds already, without the values of query
  /// parameters that are to be `hidden`.
  init(
    of head: borrowing RequestHead, client: IPAddress?, upgrade: Slice?,
    hiding hidden: [[UInt8]] = [], into text: inout ByteBuffer
  ) {
    method = head.method
    version = head.version
    self.client = client
    methodName = Self.copy(head.methodName, head, &text)
    target = Self.copy(head.target, head, hiding: hidden, &text)
    host = Self.copy(head.authority, head, &text)
    userAgent = Self.copy(head.fields.first(.userAgent), head, &text)
    referer = Self.copy(head.fields.first(.referer), head, hiding: hidden, &text)
    requestID = Self.copy(head.fields.first(.xRequestID), head, &text)
    traceID = Self.copy(head.fields.traceID, head, &text)
    self.upgrade = Self.copy(upgrade, head, &text)
  }

  private static func copy(
    _ slice: Slice?, _ head: borrowing RequestHead, _ text: inout ByteBuffer
  ) -> Slice {
    guard let slice, !slice.isEmpty else { return .empty }
    let start = text.count
    text.append(head.bytes(of: slice))
    return Slice(start..<text.count)
  }

  private static func copy(
    _ slice: Slice?, _ head: borrowing RequestHead, hiding hidden: [[UInt8]],
    _ text: inout ByteBuffer
  ) -> Slice {
    guard let slice, !slice.isEmpty else { return .empty }
    let start = text.count
    text.append(head.bytes(of: slice), hiding: hidden)
    return Slice(start..<text.count)
  }
}
