// ClientAddress: from our own peer to the left, as long as each proxy is trusted.

import HTTP
import Primitives
import Proxy
import Testing

@Suite struct ClientAddressTests {
  private func origin(
    _ fields: [(String, String)], peer: String = "10.0.0.1", trusted: [String] = ["10.0.0.0/8"],
    _ field: ForwardingField = .xForwardedFor
  ) -> RequestOrigin {
    let head = request(fields)
    let policy = ForwardingPolicy(
      trustedProxies: trusted.compactMap { AddressRange($0) }, field: field)
    return RequestOrigin(peer: address(peer), fields: head.fields, policy: policy)
  }

  private func client(
    _ fields: [(String, String)], peer: String = "10.0.0.1", trusted: [String] = ["10.0.0.0/8"],
    _ field: ForwardingField = .xForwardedFor
  ) -> String {
    "\(origin(fields, peer: peer, trusted: trusted, field).client)"
  }

  @Test func whatAnUntrustedPeerSaysIsNotRead() {
    let fields = [("X-Forwarded-For", "1.2.3.4"), ("Forwarded", "for=1.2.3.4")]
    for field in [ForwardingField.xForwardedFor, .forwarded, .both] {
      #expect(client(fields, peer: "192.0.2.1", field) == "192.0.2.1")
      #expect(client(fields, trusted: [], field) == "10.0.0.1")
    }
  }

  @Test(arguments: [
    ("", "10.0.0.1"), ("1.2.3.4", "1.2.3.4"), ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
    ("6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"), ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ("1.2.3.4, junk", "10.0.0.1"), ("1.2.3.4, junk, 10.0.0.2", "10.0.0.2"),
    ("1.2.3.4,,", "1.2.3.4"), ("1.2.3.4:5678", "1.2.3.4"), ("2001:db8::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:80", "2001:db8::1"), ("[1.2.3.4", "10.0.0.1"),
    ("::ffff:10.0.0.2", "10.0.0.2"), ("unknown", "10.0.0.1"), ("1.2.3.4.5", "10.0.0.1"),
    ("6.6.6.6, ::ffff:1.2.3.4, 10.1.1.1", "1.2.3.4"),
  ])
  func xForwardedForIsWalkedFromRightToLeft(value: String, expected: String) {
    #expect(client([("X-Forwarded-For", value)]) == expected)
  }

  @Test func severalFieldsAreOneListInTheirOrder() {
    let fields = [
      ("X-Forwarded-For", "6.6.6.6, 1.2.3.4"), ("A", "b"), ("x-forwarded-for", "10.0.0.2"),
    ]
    #expect(client(fields) == "1.2.3.4")
  }

  @Test(arguments: [
    ("for=1.2.3.4", "1.2.3.4"), ("For=1.2.3.4;proto=https;by=10.0.0.2", "1.2.3.4"),
    ("proto=https; for=1.2.3.4", "1.2.3.4"), ("for=6.6.6.6, for=1.2.3.4, for=10.0.0.2", "1.2.3.4"),
    ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"), ("for=\"1.2.3.4:80\"", "1.2.3.4"),
    ("for=1.2.3.4, for=_hidden", "10.0.0.1"),
    ("for=1.2.3.4, for=unknown, for=10.0.0.2", "10.0.0.2"),
    ("for=1.2.3.4, proto=https", "10.0.0.1"), ("for=", "10.0.0.1"), ("before=1.2.3.4", "10.0.0.1"),
    ("for=1.2.3.4;", "1.2.3.4"), (";;for=1.2.3.4", "1.2.3.4"),
    // A client chose the text within the quotes.
    ("for=1.2.3.4;host=\"a;for=6.6.6.6;b\"", "1.2.3.4"),
    ("for=1.2.3.4;host=\"a, for=6.6.6.6;b\"", "10.0.0.1"),
    ("for=1.2.3.4;host=\"a, for=6.6.6.6;b=\\\"c\\\"\"", "10.0.0.1"),
    ("for=1.2.3.4;host=\"a, for=6.6.6.6;b=\\\"c\"", "10.0.0.1"),
    ("for=1.2.3.4;host=\"a, for=6.6.6.6\"", "10.0.0.1"),
    ("for=\"1.2.3.4", "10.0.0.1"),
  ])
  func forwardedIsReadWhereTrustedProxiesWriteIt(value: String, expected: String) {
    #expect(client([("Forwarded", value)], .forwarded) == expected)
    let both = [("Forwarded", value), ("X-Forwarded-For", "9.9.9.9")]
    #expect(client(both, .forwarded) == expected)
    #expect(client(both) == "9.9.9.9" && client(both, .both) == "9.9.9.9")
  }

  @Test func theOtherFieldIsNotReadEvenIfItIsTheOnlyOne() {
    #expect(client([("Forwarded", "for=6.6.6.6")]) == "10.0.0.1")
    #expect(client([("X-Forwarded-For", "6.6.6.6")], .forwarded) == "10.0.0.1")
  }

  @Test(arguments: [
    ("https", true), ("HTTPS", true), ("http", false), ("wss", true), ("ws", false),
    ("gopher", nil), ("", nil), ("http, https", true), ("https, http", false),
  ])
  func thePeersWordOnTheProtocolIsTheLastOne(value: String, expected: Bool?) {
    let field = ("X-Forwarded-Proto", value)
    #expect(origin([field]).isTLS == expected && origin([field], .both).isTLS == expected)
    #expect(origin([field], .forwarded).isTLS == nil)
    #expect(origin([field], peer: "192.0.2.1").isTLS == nil)
  }

  @Test(arguments: [
    ("for=1.2.3.4;proto=https", true), ("for=1.2.3.4;proto=\"HTTPS\"", true),
    ("for=1.2.3.4;proto=http", false), ("for=1.2.3.4", nil), ("proto=https", true),
    // The protocol of the client's own hop counts, if trusted proxies state it.
    ("for=1.2.3.4;proto=https, for=10.0.0.2;proto=http", true),
    ("for=6.6.6.6;proto=https, for=1.2.3.4;proto=http", false),
    ("for=6.6.6.6;proto=https, for=_hidden;proto=http", false),
    ("for=1.2.3.4;host=\"a;proto=https\"", nil), ("for=1.2.3.4;host=\"a;proto=https", nil),
  ])
  func forwardedTellsTheProtocolOfTheClient(value: String, expected: Bool?) {
    #expect(origin([("Forwarded", value)], .forwarded).isTLS == expected)
    #expect(origin([("Forwarded", value)]).isTLS == nil)
  }

  @Test func aRemovedFieldIsNotRead() {
    var head = request([("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "junk")])
    head.fields.remove(at: 1)
    let policy = ForwardingPolicy(trustedProxies: [AddressRange("10.0.0.0/8")].compactMap { $0 })
    let origin = RequestOrigin(peer: address("10.0.0.1"), fields: head.fields, policy: policy)
    #expect(origin.client == address("1.2.3.4"))
  }
}
