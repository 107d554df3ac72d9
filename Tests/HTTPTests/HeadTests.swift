// Heads are reused, so no data of one message may reach the next.

import HTTP
import Primitives
import Testing

struct HeadTests {
  @Test func aResetRequestIsLikeANewOne() {
    var head = RequestHead()
    head.version = .http10
    head.method = .other
    head.methodName = head.fields.store(("X" as StaticString).bytes)
    head.target = head.methodName
    head.targetForm = .absolute
    head.scheme = head.methodName
    head.authority = head.methodName
    head.host = head.methodName
    head.port = 1
    head.path = head.methodName
    head.query = head.methodName
    head.expect = .continue
    head.fields.append(.via, "x")
    head.adopt(("text" as StaticString).bytes)
    #expect(head.version == .http11 && head.method == .get && head.targetForm == .origin)
    #expect(head.methodName.isEmpty && head.target.isEmpty && head.scheme.isEmpty)
    #expect(head.authority.isEmpty && head.host.isEmpty && head.path.isEmpty)
    #expect(head.port == nil && head.query == nil && !head.expectsContinue)
    #expect(head.fields.count == 0)
    #expect(String(decoding: head.bytes(of: Slice(0..<4))) == "text")
  }

  @Test func aResetResponseIsLikeANewOne() {
    var head = ResponseHead()
    head.version = .http10
    head.status = 404
    head.reason = head.fields.store(("X" as StaticString).bytes)
    head.reset()
    #expect(head.version == .http11 && head.status == 200 && head.reason.isEmpty)
  }

  @Test func switchingProtocolsIsNotInterim() {
    var head = ResponseHead()
    for (status, isInterim) in [(100, true), (101, false), (103, true), (200, false)] {
      head.status = UInt16(status)
      #expect(head.isInterim == isInterim)
    }
  }

  @Test func versionsAreOrderedByAge() {
    #expect(HTTPVersion.http10 < .http11 && HTTPVersion.http11 < .http2)
  }

  @Test func bodiesAreEmptyWhenNoByteCanCome() {
    #expect(BodyLength.none.isEmpty && BodyLength.known(0).isEmpty)
    #expect(!BodyLength.known(1).isEmpty && !BodyLength.streamed.isEmpty)
  }
}
