// What the access log, and the answer, need of a request after its head is gone: positions in a
// text that the exchange keeps.

import HTTP
import Primitives

struct RequestSummary {
  let method: Method
  let version: HTTPVersion
  let methodName: Slice
  let target: Slice
  let host: Slice
  let userAgent: Slice
  let referer: Slice
  /// The client behind trusted proxies.
  let client: IPAddress?
  /// The protocol that the client asked to switch to; empty for none.
  let upgrade: Slice

  /// Copies what it points to behind what `text` holds already.
  init(
    of head: borrowing RequestHead, client: IPAddress?, upgrade: Slice?,
    into text: inout ByteBuffer
  ) {
    method = head.method
    version = head.version
    self.client = client
    methodName = Self.copy(head.methodName, head, &text)
    target = Self.copy(head.target, head, &text)
    host = Self.copy(head.authority, head, &text)
    userAgent = Self.copy(head.fields.first(.userAgent), head, &text)
    referer = Self.copy(head.fields.first(.referer), head, &text)
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
}
