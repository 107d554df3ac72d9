// Which trailers are forwarded, by the rules for heads.

import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct TrailerRuleTests {
  private func kept(_ fields: [(String, String)], _ edits: [FieldEdit] = []) -> [String] {
    var block = FieldBlock()
    append(fields, to: &block)
    block.prepareTrailers(edits)
    return lines(block)
  }

  @Test func trailerFieldsAreForwarded() {
    let names = [
      "ETag", "Server-Timing", "grpc-status", "grpc-message", "Digest", "Content-Digest",
      "Repr-Digest", "Signature", "X-Amz-Trailer-Signature", "X-Checksum", "X_Checksum",
    ]
    #expect(kept(names.map { ($0, "1") }) == names.map { "\($0): 1" })
  }

  @Test(arguments: [
    "Host", "Content-Length", "Transfer-Encoding", "Connection", "Via", "X-Request-ID",
    "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "traceparent", "tracestate",
    "Proxy", "Max-Forwards", "Authorization", "Cookie", "Set-Cookie", "Content-Type",
    "Content-Encoding", "Content-Range", "If-Match", "If-Range", "Expires", "Date", "Location",
    "Strict-Transport-Security", "Accept-Encoding", "User-Agent", "X-Forwarded-User", "Pragma",
    "X_Forwarded_For", "x.forwarded.for", "X_Request_ID", "Set_Cookie", "If_Match",
    "x-forwarded_user",
  ])
  func headFieldsAreRemovedFromTrailers(name: String) {
    let fields = [("A", "1"), (name, "2"), (name.lowercased(), "3"), ("B", "4")]
    #expect(kept(fields) == ["A: 1", "B: 4"])
  }

  @Test(arguments: ForwardingTests.claims + ForwardingTests.clientAddresses)
  func whatSaysWhoAskedDoesNot(name: String) {
    for name in [name, name.lowercased(), name.replacing("-", with: "_")] {
      #expect(kept([("A", "1"), (name, "2")]) == ["A: 1"])
    }
  }

  @Test(arguments: ["X-Auth-User", "x-auth-user", "X_Auth_User", "X.Auth.User"])
  func fieldsThatARouteEditsAreRemovedFromTrailers(name: String) {
    let user = Array("X-Auth-User".utf8)
    let edits = [FieldEdit.set(name: user, value: Array("me".utf8)), .remove(name: user)]
    for edit in edits {
      #expect(kept([(name, "you"), ("X-Other", "1")], [edit]) == ["X-Other: 1"])
    }
    #expect(kept([(name, "you")]) == ["\(name): you"])
  }
}
