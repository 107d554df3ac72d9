// Forwarding: which fields a backend and a client receive.

import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct ForwardingTests {
  private static let trusting = ForwardingPolicy(
    trustedProxies: [AddressRange("10.0.0.0/8")].compactMap { $0 })

  /// The fields of a request after forwarding, without those that every request gets.
  private func kept(_ fields: [(String, String)]) -> [String] {
    let added = ["Forwarded: ", "X-Forwarded-For: ", "X-Forwarded-Proto: "]
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
    #expect(lines.values(of: "Via") == ["1.1 b"])
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
    let chained = ForwardingPolicy(addsViaToRequests: true)
    #expect(forwarded([], policy: chained).values(of: "Via") == ["1.1 martlet"])
    let old10 = forwarded([], version: .http10, policy: chained)
    #expect(old10.values(of: "Via") == ["1.0 martlet"])
    #expect(forwarded([("Via", "1.1 a")]).values(of: "Via") == ["1.1 a"])
    var old = response([], version: .http10)
    prepareResponse(&old, addsVia: true)
    #expect(lines(old.fields) == ["Via: 1.0 martlet"])
    var quiet = response([])
    prepareResponse(&quiet, addsVia: false)
    #expect(lines(quiet.fields).isEmpty)
  }

  // MARK: The client

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
        "Forwarded: for=192.0.2.1;host=\"example.org:8443\";proto=https",
      ])
  }

  @Test func aTrustedProxysFieldsAreContinuedInOneField() {
    let lines = forwarded(
      [
        ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a"),
        ("X-Forwarded-Port", "443"), ("X-Real-IP", "1.2.3.4"), ("Forwarded", "for=1.2.3.4"),
        ("X-Forwarded-For", "10.0.0.9"),
      ], peer: "10.0.0.1", isTLS: false, host: "b",
      policy: Self.trusting(.both))
    #expect(
      lines == [
        "X-Forwarded-Proto: https", "X-Forwarded-Host: a", "X-Forwarded-Port: 443",
        "X-Real-IP: 1.2.3.4", "X-Forwarded-For: 1.2.3.4, 10.0.0.9, 10.0.0.1",
        "Forwarded: for=1.2.3.4, for=10.0.0.1;host=\"b\";proto=http",
      ])
  }

  private static func trusting(_ field: ForwardingField) -> ForwardingPolicy {
    ForwardingPolicy(
      trustedProxies: [AddressRange("10.0.0.0/8")].compactMap { $0 }, field: field)
  }

  @Test func theFieldThatTrustedProxiesDoNotWriteNamesTheSameClient() {
    let fields = [
      ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "evil"),
      ("X-Forwarded-Port", "1"), ("X-Real-IP", "6.6.6.6"),
      ("Forwarded", "for=1.2.3.4;proto=https"),
    ]
    let byForwarded = forwarded(
      fields, peer: "10.0.0.1", isTLS: false, host: "b", policy: Self.trusting(.forwarded))
    #expect(
      byForwarded == [
        "X-Forwarded-For: 1.2.3.4, 10.0.0.1", "X-Forwarded-Proto: https",
        "X-Forwarded-Host: b",
        "Forwarded: for=1.2.3.4;proto=https, for=10.0.0.1;host=\"b\";proto=http",
      ])
    let byXForwarded = forwarded(fields, peer: "10.0.0.1", isTLS: false, host: "b")
    #expect(byXForwarded.values(of: "X-Forwarded-For") == ["6.6.6.6, 10.0.0.1"])
    #expect(
      byXForwarded.values(of: "Forwarded") == [
        "for=6.6.6.6;proto=http, for=10.0.0.1;host=\"b\";proto=http"
      ])
    let byEither = forwarded(
      [("X-Forwarded-For", "2001:db8::1"), ("X-Forwarded-Proto", "https")], peer: "10.0.0.1",
      isTLS: false, host: "b", policy: Self.trusting(.both))
    #expect(
      byEither.values(of: "Forwarded") == [
        "for=\"[2001:db8::1]\";proto=https, for=10.0.0.1;host=\"b\";proto=http"
      ])
  }

  @Test(arguments: [("1.2.3.4", true), ("::ffff:1.2.3.4", true), ("6.6.6.6", false), ("x", false)])
  func anAddressThatCameThroughATrustedProxyStaysOnlyIfItIsTheClients(
    address: String, stays: Bool
  ) {
    let fields = [("X-Forwarded-For", "6.6.6.6, 1.2.3.4"), ("X-Real-IP", address)]
    let lines = forwarded(fields, peer: "10.0.0.1")
    #expect(lines.values(of: "X-Real-IP") == (stays ? [address] : []))
  }

  @Test func theTrustedProxyStatesWhetherTheClientUsesTLS() {
    func isTLS(_ fields: [(String, String)], peer: String, _ isTLS: Bool = false) -> Bool {
      var head = request(fields)
      return prepareRequest(
        &head, peer: address(peer), isTLS: isTLS, policy: Self.trusting
      ).isTLS
    }
    let https = [("X-Forwarded-Proto", "https")]
    #expect(isTLS(https, peer: "10.0.0.1") && !isTLS(https, peer: "192.0.2.1"))
    #expect(!isTLS([("X-Forwarded-Proto", "http")], peer: "10.0.0.1", true))
    #expect(isTLS([], peer: "10.0.0.1", true) && !isTLS([], peer: "10.0.0.1"))
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
    "X.Forwarded.For", "x~real.ip",
  ])
  func fieldsThatCGITakesForForwardingFieldsAreAlwaysRemoved(name: String) {
    for peer in ["192.0.2.1", "10.0.0.1"] {
      let lines = forwarded([(name, "6.6.6.6"), ("X_Other", "1")], peer: peer)
      #expect(lines.values(of: name).isEmpty && lines.values(of: "X_Other") == ["1"])
    }
  }

  /// Forwarding fields of which Martlet only knows the name.
  static let claims = [
    "X-Forwarded-SSL", "x-forwarded-scheme", "X-Forwarded-Protocol", "X-Forwarded-User",
    "X-Forwarded-Prefix", "X-Forwarded-Email", "X-Forwarded-Client-Cert", "X-Forwarded",
    "Front-End-Https", "Forwarded-For", "X-Original-Forwarded-For", "X-Scheme", "X-Url-Scheme",
    "Remote-User", "X-Remote-User", "X-Host", "X-Original-Host", "X-Original-URL",
    "X-Rewrite-URL", "X-SSL-Client-Cert",
  ]
  static let clientAddresses = [
    "Client-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP",
    "Fastly-Client-IP", "Fly-Client-IP", "Proxy-Client-IP", "WL-Proxy-Client-IP",
    "X-Appengine-User-IP", "X-Azure-ClientIP", "X-Envoy-External-Address", "X-Real-IP",
  ]

  @Test(arguments: claims + clientAddresses)
  func whatSaysWhoAskedIsRemovedFromStrangersAsAreItsLookalikes(name: String) {
    for name in [
      name, name.uppercased(), name.replacing("-", with: "_"), name.replacing("-", with: "."),
    ] {
      #expect(kept([("A", "1"), (name, "10.0.0.1"), ("B", "2")]) == ["A: 1", "B: 2"], "\(name)")
    }
    #expect(kept([("Y" + name, "1"), ("X-Forwarde", "1"), ("X-Clien-IP", "1")]).count == 3)
  }

  @Test(arguments: claims)
  func whatATrustedProxySaysPassesAndItsLookalikesDoNot(name: String) {
    func said(_ name: String, _ field: ForwardingField = .xForwardedFor) -> [String] {
      forwarded([(name, "1")], peer: "10.0.0.1", policy: Self.trusting(field)).values(of: name)
    }
    #expect(said(name) == ["1"] && said(name, .both) == ["1"])
    // If trusted proxies write only Forwarded, this comes from the client.
    #expect(said(name, .forwarded) == [])
    #expect(said(name.replacing("-", with: "_")) == [])
  }

  @Test(arguments: clientAddresses)
  func anAddressOfTheClientPassesOnlyIfTheTrustedProxyNamesTheSame(name: String) {
    for (address, stays) in [("1.2.3.4", true), ("6.6.6.6", false), ("x", false), ("", false)] {
      let fields = [("X-Forwarded-For", "6.6.6.6, 1.2.3.4"), (name, address)]
      let lines = forwarded(fields, peer: "10.0.0.1")
      #expect(lines.values(of: name) == (stays ? [address] : []), "\(address)")
    }
  }

  @Test(arguments: claims)
  func connectionCanNotNameWhatATrustedProxySays(name: String) {
    let fields = [(name, "1"), ("X-Mine", "2"), ("Connection", "x-mine, " + name.lowercased())]
    let lines = forwarded(fields, peer: "10.0.0.1")
    #expect(lines.values(of: name) == ["1"] && lines.values(of: "X-Mine") == [])
  }

  @Test(arguments: [
    ("close", true), ("keep-alive, Upgrade", true), ("TE, close", true), ("X-Sum", false),
    ("close, x-sum", false), ("X-Forwarded-User", false),
  ])
  func trailersAreLeftOutWhereConnectionNamesFields(value: String, keeps: Bool) {
    var head = request([("Connection", value)])
    let found = prepareRequest(
      &head, peer: address("192.0.2.1"), isTLS: true, policy: Self.trusting)
    #expect(found.keepsTrailers == keeps)
    var answer = response([("Connection", value)])
    let keepsAnswers = prepareResponse(&answer, addsVia: false)
    #expect(keepsAnswers == keeps)
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

  @Test func a101WithoutUpgradeIsInvalid() {
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

  @Test(arguments: ["X_Auth_User", "x-auth_user", "X_AUTH-USER", "X.Auth.User", "X!auth'user"])
  func anEditAlsoRemovesSimilarNames(name: String) {
    for edit in [
      FieldEdit.set(name: Array("X-Auth-User".utf8), value: Array("me".utf8)),
      .remove(name: Array("X-Auth-User".utf8)), .remove(name: Array("x_auth_user".utf8)),
    ] {
      var head = request([(name, "you"), ("X-Auth-Users", "all"), ("X-AUTH-USER", "you")])
      head.fields.apply([edit])
      #expect(!lines(head.fields).contains { $0.hasSuffix("you") }, "\(edit)")
      #expect(lines(head.fields).values(of: "X-Auth-Users") == ["all"])
    }
  }

  @Test func fieldsThatEditsSetAreReplacedOnlyByTheirExactName() {
    var head = request([("X-A", "0")])
    head.fields.apply([
      .set(name: Array("X-A".utf8), value: Array("1".utf8)),
      .set(name: Array("X_A".utf8), value: Array("2".utf8)),
      .set(name: Array("x-a".utf8), value: Array("3".utf8)),
    ])
    #expect(lines(head.fields) == ["X_A: 2", "x-a: 3"])
  }
}
