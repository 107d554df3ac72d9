// Forwarding: what a backend and a client get to see of the other's head.

import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct ForwardingTests {
  private static let trusting = ForwardingPolicy(
    trustedProxies: [AddressRange("10.0.0.0/8")].compactMap { $0 })

  /// The fields of a request as they are forwarded, without those that every request gets.
  private func kept(_ fields: [(String, String)]) -> [String] {
    let added = ["Forwarded: ", "X-Forwarded-For: ", "X-Forwarded-Proto: ", "Via: "]
    return forwarded(fields).filter { line in !added.contains { line.hasPrefix($0) } }
  }

  private func forwarded(
    _ fields: [(String, String)], peer: String = "192.0.2.1", isTLS: Bool = true, host: String = "",
    version: HTTPVersion = .http11, policy: ForwardingPolicy = trusting
  ) -> [String] {
    var head = request(fields, version: version, host: host)
    _ = prepareRequest(
      &head, peer: address(peer), isTLS: isTLS, policy: policy)
    return lines(head.fields)
  }

  // MARK: Hop by hop

  @Test func fieldsOfOneHopStayOnIt() {
    let fields = [
      ("Host", "a"), ("Connection", "close, X-Mine"), ("Keep-Alive", "3"), ("x-mine", "1"),
      ("Proxy-Connection", "close"), ("TE", "trailers"), ("Upgrade", "h2c"),
      ("HTTP2-Settings", "x"), ("Proxy-Authorization", "Basic x"), ("Proxy", "http://evil"),
      ("Accept", "b"), ("X-Yours", "2"),
    ]
    #expect(kept(fields) == ["Host: a", "Accept: b", "X-Yours: 2"])
  }

  @Test func everyConnectionFieldIsReadToItsEnd() {
    let fields = [
      ("X-One", "1"), ("Connection", "x-one,, x-two"), ("X-Two", "2"), ("Connection", "x-THREE"),
      ("X-Three", "3"), ("X-Three", "3"), ("X-Four", "4"),
    ]
    #expect(kept(fields) == ["X-Four: 4"])
  }

  @Test(arguments: [
    "Host", "Content-Length", "Transfer-Encoding", "Cookie", "Authorization", "Content-Type",
  ])
  func connectionCanNotNameWhatTheMessageNeeds(name: String) {
    #expect(kept([(name, "1"), ("Connection", name.lowercased())]) == ["\(name): 1"])
  }

  @Test func aTrustedProxysFieldsCanNotBeNamedByItsClient() {
    let lines = forwarded(
      [("X-Forwarded-Proto", "http"), ("Via", "1.1 b"), ("Connection", "x-forwarded-proto, via")],
      peer: "10.0.0.1")
    #expect(lines.values(of: "X-Forwarded-Proto") == ["http"])
    #expect(lines.values(of: "Via") == ["1.1 b", "1.1 martlet"])
  }

  @Test func responsesLoseWhatIsForOneHopToo() {
    var head = response([
      ("Connection", "close, x-a"), ("X-A", "1"), ("Keep-Alive", "timeout=5"), ("Upgrade", "x"),
      ("Proxy-Connection", "close"), ("Proxy-Authenticate", "Basic"), ("Server", "s"),
      ("WWW-Authenticate", "Basic"),
    ])
    prepareResponse(&head, addsVia: true)
    #expect(lines(head.fields) == ["Server: s", "WWW-Authenticate: Basic", "Via: 1.1 martlet"])
  }

  @Test func viaNamesTheVersionThatCame() {
    #expect(forwarded([]).values(of: "Via") == ["1.1 martlet"])
    #expect(forwarded([], version: .http10).values(of: "Via") == ["1.0 martlet"])
    var old = response([], version: .http10)
    prepareResponse(&old, addsVia: true)
    #expect(lines(old.fields) == ["Via: 1.0 martlet"])
    let silent = ForwardingPolicy(addsVia: false)
    #expect(forwarded([("Via", "1.1 a")], policy: silent).values(of: "Via") == ["1.1 a"])
    var quiet = response([])
    prepareResponse(&quiet, addsVia: false)
    #expect(lines(quiet.fields).isEmpty)
  }

  // MARK: Who asked

  @Test func aClientsOwnForwardingFieldsAreReplaced() {
    let lines = forwarded(
      [
        ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"), ("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
      ], host: "example.org:8443")
    #expect(
      lines == [
        "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https",
        "X-Forwarded-Host: example.org:8443",
        "Forwarded: for=192.0.2.1;host=\"example.org:8443\";proto=https", "Via: 1.1 martlet",
      ])
  }

  @Test func aTrustedProxysFieldsAreContinuedInOneField() {
    let lines = forwarded(
      [
        ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a"),
        ("X-Forwarded-Port", "443"), ("X-Real-IP", "1.2.3.4"), ("Forwarded", "for=1.2.3.4"),
        ("X-Forwarded-For", "10.0.0.9"),
      ], peer: "10.0.0.1", isTLS: false, host: "b")
    #expect(
      lines == [
        "X-Forwarded-Proto: https", "X-Forwarded-Host: a", "X-Forwarded-Port: 443",
        "X-Real-IP: 1.2.3.4", "X-Forwarded-For: 1.2.3.4, 10.0.0.9, 10.0.0.1",
        "Forwarded: for=1.2.3.4, for=10.0.0.1;host=\"b\";proto=http", "Via: 1.1 martlet",
      ])
  }

  @Test func whatATrustedProxyLeftOutIsAdded() {
    let lines = forwarded([], peer: "10.0.0.1", isTLS: false, host: "b")
    #expect(lines.values(of: "X-Forwarded-Proto") == ["http"])
    #expect(lines.values(of: "X-Forwarded-Host") == ["b"])
  }

  @Test func ipv6IsQuotedInForwardedOnly() {
    let lines = forwarded([], peer: "2001:db8::1")
    #expect(lines.values(of: "X-Forwarded-For") == ["2001:db8::1"])
    #expect(lines.values(of: "Forwarded") == ["for=\"[2001:db8::1]\";proto=https"])
  }

  @Test(arguments: [
    "X_Forwarded_For", "X-Forwarded_Proto", "x_real_ip", "X_FORWARDED_HOST", "X_Forwarded-Port",
  ])
  func whatCGITakesForAForwardingFieldIsRemovedFromWhomeverItComes(name: String) {
    for peer in ["192.0.2.1", "10.0.0.1"] {
      let lines = forwarded([(name, "6.6.6.6"), ("X_Other", "1")], peer: peer)
      #expect(lines.values(of: name).isEmpty && lines.values(of: "X_Other") == ["1"])
    }
  }

  @Test func theClientIsTheOneBehindTrustedProxies() {
    var head = request([("X-Forwarded-For", "6.6.6.6, 1.2.3.4")])
    let found = prepareRequest(
      &head, peer: address("10.0.0.1"), isTLS: true, policy: Self.trusting)
    #expect(found.client == address("1.2.3.4"))
  }

  // MARK: Upgrades

  private func upgrade(
    _ fields: [(String, String)], version: HTTPVersion = .http11,
    tokens: [String] = ["websocket", "tls-in-x"]
  ) -> (token: String?, field: [String]) {
    var head = request(fields, version: version)
    let policy = ForwardingPolicy(upgradeTokens: tokens.map { Array($0.utf8) })
    let found = prepareRequest(
      &head, peer: address("192.0.2.1"), isTLS: true, policy: policy)
    let token = found.upgrade.map { String(decoding: head.bytes(of: $0)) }
    return (token, lines(head.fields).values(of: "Upgrade"))
  }

  @Test(arguments: [
    ("websocket", "Upgrade", "websocket"), ("WebSocket", "keep-alive, upgrade", "WebSocket"),
    ("h2c, websocket", "upgrade", "websocket"), ("h2c", "upgrade", nil),
    ("websocket", "close", nil), ("tls-in-x, websocket", "upgrade", "tls-in-x"),
    ("websocketx", "upgrade", nil), ("", "upgrade", nil),
  ])
  func aPermittedProtocolIsAskedForAlone(value: String, connection: String, token: String?) {
    let asked = upgrade([("Upgrade", value), ("Connection", connection)])
    #expect(asked.token == token && asked.field == (token.map { [$0] } ?? []))
  }

  @Test func aRequestWithALengthOrABodyMayUpgrade() {
    let fields = [("Upgrade", "websocket"), ("Connection", "upgrade")]
    #expect(upgrade(fields + [("Content-Length", "0")]).token == "websocket")
    #expect(upgrade(fields + [("Content-Length", "5")]).field == ["websocket"])
    #expect(upgrade(fields + [("Transfer-Encoding", "chunked")]).token == "websocket")
  }

  @Test func aProtocolWithAVersionIsComparedAsAWhole() {
    let fields = { (value: String) in [("Upgrade", value), ("Connection", "upgrade")] }
    #expect(upgrade(fields("SPDY/3.1"), tokens: ["spdy/3.1"]).token == "SPDY/3.1")
    #expect(upgrade(fields("SPDY/3"), tokens: ["spdy/3.1"]).token == nil)
    #expect(upgrade(fields("SPDY"), tokens: ["spdy/3.1"]).token == nil)
    #expect(upgrade(fields("SPDY/3.1"), tokens: ["spdy"]).token == nil)
  }

  @Test func someRequestsCanNotUpgrade() {
    let fields = [("Upgrade", "websocket"), ("Connection", "upgrade")]
    #expect(upgrade(fields).token == "websocket")
    #expect(upgrade(fields, version: .http10).token == nil)
    #expect(upgrade(fields, tokens: []).token == nil)
    #expect(upgrade([("Connection", "upgrade")]).token == nil)
  }

  @Test(arguments: [
    ("websocket", "Upgrade", true), ("WEBSOCKET", "x, upgrade", true),
    ("websocket", "close", false),
    ("other", "upgrade", false), ("websocket, other", "upgrade", false), ("", "upgrade", false),
  ])
  func a101HasToNameWhatWasAskedFor(value: String, connection: String, accepts: Bool) {
    let head = response([("Connection", connection), ("Upgrade", value)])
    let isAccepted = acceptsUpgrade(head, token: Array("websocket".utf8).span)
    #expect(isAccepted == accepts)
  }

  @Test func a101WithoutUpgradeIsNone() {
    let head = response([("Connection", "upgrade")])
    let isAccepted = acceptsUpgrade(head, token: Array("websocket".utf8).span)
    #expect(!isAccepted)
  }

  // MARK: Edits

  @Test func editsReplaceEveryFieldOfTheName() {
    var head = request([("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")])
    head.fields.apply([
      .remove(name: Array("c".utf8)), .set(name: Array("A".utf8), value: Array("5".utf8)),
      .set(name: Array("D".utf8), value: Array("6".utf8)),
    ])
    #expect(lines(head.fields) == ["B: 2", "A: 5", "D: 6"])
  }
}
