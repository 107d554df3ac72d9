// Sessions in the role of the client: which backends are accepted, and why others are not.

import COpenSSL
import Foundation
import Testing

@testable import TLS

@Suite("Sessions with backends") struct UpstreamSessionTests {
  private let authority = TestAuthority.shared

  private func server(
    _ names: String = "DNS:a.test", days: Int = 30, commonName: String = "test",
    maximum: Int32 = TLS1_3_VERSION, clientAuthority: String? = nil, protocols: [String] = []
  ) -> TestServer {
    TestServer(
      ServerOffer(
        files: authority.files(.p256, names: names, commonName: commonName, days: days),
        maximum: maximum, clientAuthority: clientAuthority, protocols: protocols))
  }

  private func context(
    _ change: (inout UpstreamContext.Policy) -> Void = { _ in }
  ) throws -> UpstreamContext {
    var policy = UpstreamContext.Policy()
    policy.trust = try TrustStore(path: authority.path("ca.crt"))
    change(&policy)
    return try UpstreamContext(policy)
  }

  /// A self-signed certificate for a.test, in files of its own: tests run side by side.
  private func selfSigned() -> (chain: String, key: String) {
    let name = authority.path("self-\(UInt64.random(in: 0 ... .max))")
    let files = (chain: name + ".crt", key: name + ".key")
    TestAuthority.openssl(
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", files.key, "-out", files.chain, "-subj", "/CN=a.test", "-days", "30",
      "-addext", "subjectAltName=DNS:a.test", "-addext", "basicConstraints=CA:FALSE")
    return files
  }

  /// By the openssl command.
  private func pin(of chain: String) throws -> [UInt8] {
    let (status, output) = TestAuthority.run([
      "sh", "-c",
      "openssl x509 -in '\(chain)' -pubkey -noout | openssl pkey -pubin -outform der"
        + " | openssl dgst -sha256 -binary | base64",
    ])
    try #require(status == 0)
    return Array(try #require(Data(base64Encoded: output.trimmingCharacters(in: .newlines))))
  }

  @Test("A verified backend gets the name and the protocols", arguments: TLSVersion.allCases)
  func verified(version: TLSVersion) throws {
    let pair = try UpstreamPair(
      server(maximum: version.code, protocols: ["http/1.1"]), context())
    try pair.shakeHands()
    #expect(pair.version == version && !pair.isResumed)
    #expect(pair.sentName == "a.test" && pair.selectedProtocol == "http/1.1")
    try pair.write(pattern(10_000))
    #expect(pair.serverReads() == pattern(10_000))
    pair.serverWrites(pattern(16_000))
    #expect(try pair.read().bytes == pattern(16_000))
    pair.close()
    #expect(pair.serverReads().isEmpty && pair.serverSawCloseNotify)
  }

  @Test("A backend that knows no ALPN is accepted, and other protocols can be offered")
  func protocols() throws {
    let pair = try UpstreamPair(server(), context())
    try pair.shakeHands()
    #expect(pair.selectedProtocol == nil)
    let other = try UpstreamPair(
      server(protocols: ["h2"]), context { $0.protocols = ["h2", "http/1.1"] })
    try other.shakeHands()
    #expect(other.selectedProtocol == "h2")
  }

  struct Refusal: Sendable {
    var names = "DNS:a.test"
    var name = "a.test"
    var days = 30
    let fault: PeerFault
    /// RFC 8446 6.2.
    let alert: Int32
  }

  @Test(
    "An invalid certificate is refused by its reason, with an alert",
    arguments: [
      Refusal(days: -1, fault: .expired, alert: 45),
      Refusal(name: "b.test", fault: .wrongName, alert: 42),
      Refusal(name: "x.a.test", fault: .wrongName, alert: 42),
      Refusal(names: "DNS:a*.test", name: "aa.test", fault: .wrongName, alert: 42),
      Refusal(names: "IP:127.0.0.2", name: "127.0.0.1", fault: .wrongName, alert: 42),
      // The name of an address is no address.
      Refusal(names: "DNS:127.0.0.1", name: "127.0.0.1", fault: .wrongName, alert: 42),
    ], TLSVersion.allCases)
  func refused(refusal: Refusal, version: TLSVersion) throws {
    let pair = try UpstreamPair(
      server(refusal.names, days: refusal.days, maximum: version.code), context(),
      to: refusal.name)
    #expect(throws: TLSFailure.peerRefused(refusal.fault)) { try pair.shakeHands() }
    _ = pair.serverReads()
    #expect(pair.serverError == 1000 + refusal.alert)
  }

  @Test("The common name doesn't count")
  func commonName() throws {
    let pair = try UpstreamPair(
      server("email:x@a.test", commonName: "a.test"), context())
    #expect(throws: TLSFailure.peerRefused(.wrongName)) { try pair.shakeHands() }
  }

  @Test("An address is verified against addresses, and isn't sent", arguments: ["127.0.0.1", "::1"])
  func addresses(address: String) throws {
    let pair = try UpstreamPair(server("IP:127.0.0.1,IP:::1"), context(), to: address)
    try pair.shakeHands()
    #expect(pair.sentName == nil)
  }

  @Test("A certificate of another authority, or a self-signed one, is not trusted")
  func untrusted() throws {
    let strangers = authority.path("strangers.crt")
    TestAuthority.openssl(
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-keyout", authority.path("strangers.key"), "-out", strangers, "-subj", "/CN=Others",
      "-days", "30")
    let others = try context { $0.trust = try? TrustStore(path: strangers) }
    let untrusted = try UpstreamPair(server(), others)
    #expect(throws: TLSFailure.peerRefused(.untrusted)) { try untrusted.shakeHands() }

    let files = selfSigned()
    let server = TestServer(ServerOffer(files: files))
    let selfSigned = try UpstreamPair(server, context())
    #expect(throws: TLSFailure.peerRefused(.selfSigned)) { try selfSigned.shakeHands() }
    // It is trusted if it is in the file itself.
    let trusting = try UpstreamPair(
      server, context { $0.trust = try? TrustStore(path: files.chain) })
    try trusting.shakeHands()
  }

  @Test("Without verification any certificate is accepted; a name is still sent")
  func unverified() throws {
    let lax = try context { $0.trust = nil }
    let pair = try UpstreamPair(TestServer(ServerOffer(files: selfSigned())), lax, to: "b.test")
    try pair.shakeHands()
    #expect(pair.sentName == "b.test")
    let nameless = try UpstreamPair(server(days: -1), lax, to: "")
    try nameless.shakeHands()
    #expect(nameless.sentName == nil)
  }

  @Test("Verification without a name is refused")
  func nameless() throws {
    #expect(throws: TLSFailure.peerRefused(.wrongName)) {
      _ = try UpstreamPair(server(), context(), to: "")
    }
  }

  @Test("One of the pins must match, with and without verification", arguments: [true, false])
  func pins(verifies: Bool) throws {
    let files = authority.files(.p256, names: "DNS:a.test")
    let right = try pin(of: files.chain)
    let wrong = [UInt8](repeating: 7, count: 32)
    func pair(_ pins: [[UInt8]]) throws -> UpstreamPair {
      try UpstreamPair(
        server(),
        context {
          $0.pins = pins
          if !verifies { $0.trust = nil }
        })
    }
    try pair([wrong, right]).shakeHands()
    #expect(throws: TLSFailure.peerRefused(.pin)) { try pair([wrong]).shakeHands() }
  }

  @Test("A pin doesn't replace the verification")
  func pinOfAnInvalidCertificate() throws {
    let files = authority.files(.p256, names: "DNS:a.test", days: -1)
    let pin = try pin(of: files.chain)
    let pair = try UpstreamPair(server(days: -1), context { $0.pins = [pin] })
    #expect(throws: TLSFailure.peerRefused(.expired)) { try pair.shakeHands() }
  }

  @Test(
    "A backend without TLS is recognised",
    arguments: ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n"])
  func plaintext(answer: String) throws {
    let pair = try UpstreamPair(server(), context())
    #expect(try pair.handshake() == .wantsInput)
    pair.inbound = Array(answer.utf8)
    #expect(throws: TLSFailure.notTLS) { _ = try pair.handshake() }
  }

  @Test("A client certificate is presented if the backend asks", arguments: TLSVersion.allCases)
  func clientCertificate(version: TLSVersion) throws {
    let server = server(maximum: version.code, clientAuthority: authority.path("ca.crt"))
    let identity = try authority.certificate(.p256, names: "DNS:martlet.test")
    let pair = try UpstreamPair(server, context { $0.identity = identity })
    try pair.shakeHands()
    #expect(pair.serverError == 0 && SSL_get0_peer_certificate(pair.ssl) != nil)

    let without = try UpstreamPair(server, context())
    switch version {
    case .tls12:
      // handshake_failure.
      #expect(throws: TLSFailure.peerAlert(40)) { try without.shakeHands() }
    case .tls13:
      // certificate_required comes after our handshake (RFC 8446 4.4.2.4).
      try without.shakeHands()
      #expect(throws: TLSFailure.peerAlert(116)) { _ = try without.read() }
    }
  }

  @Test("A version below the minimum is not spoken")
  func minimumVersion() throws {
    let pair = try UpstreamPair(
      server(maximum: TLS1_2_VERSION), context { $0.minimumVersion = .tls13 })
    #expect(throws: TLSFailure.peerAlert(70)) { try pair.shakeHands() }
  }

  // MARK: Resumption

  /// A finished connection, whose tickets were read.
  private func visit(
    _ server: TestServer, _ context: UpstreamContext, to name: String = "a.test",
    port: UInt16 = 443, resumes: Bool = true
  ) throws -> Bool {
    let pair = try UpstreamPair(server, context, to: name, port: port, resumes: resumes)
    try pair.shakeHands()
    #expect(try pair.read().bytes.isEmpty)
    return pair.isResumed
  }

  @Test("Sessions are resumed, also if they were not closed", arguments: TLSVersion.allCases)
  func resumption(version: TLSVersion) throws {
    let (server, context) = (server(maximum: version.code), try context())
    #expect(try !visit(server, context))
    for _ in 0..<5 { #expect(try visit(server, context)) }
  }

  @Test("No other name, address or context gets them", arguments: TLSVersion.allCases)
  func isolation(version: TLSVersion) throws {
    let (server, context) = (
      server("DNS:a.test,DNS:b.test", maximum: version.code), try context()
    )
    #expect(try !visit(server, context))
    #expect(try !visit(server, context, to: "b.test"))
    #expect(try !visit(server, context, port: 444))
    #expect(try !visit(server, self.context()))
    #expect(try !visit(server, context, resumes: false))
    #expect(try visit(server, context))
  }

  @Test("A ticket of TLS 1.3 is used once, and a backend's sessions are limited")
  func singleUse() throws {
    let (server, context) = (server(), try context())
    func connect(_ count: Int) throws -> [UpstreamPair] {
      try (0..<count).map { _ in
        let pair = try UpstreamPair(server, context)
        try pair.shakeHands()
        return pair
      }
    }
    // Two tickets for each, which come after all handshakes.
    for pair in try connect(5) { _ = try pair.read() }
    #expect(try connect(10).count { $0.isResumed } == SessionSlot.sessionMax)
  }

  @Test("After a failure there is a full handshake")
  func failureForgets() throws {
    let (server, context) = (server(maximum: TLS1_2_VERSION), try context())
    #expect(try !visit(server, context))
    #expect(try visit(server, context))
    let broken = try UpstreamPair(server, context)
    _ = try broken.handshake()
    broken.inbound = [21, 3, 3, 0, 2, 2, 40]
    #expect(throws: TLSFailure.peerAlert(40)) { _ = try broken.handshake() }
    #expect(try !visit(server, context))
  }

  @Test("A cache of many backends is limited")
  func slots() throws {
    let cache = SessionCache()
    let first = cache.slot(for: .ip(.loopbackV4, port: 1), name: "a")
    for port in 2...UInt16(SessionCache.slotMax) {
      _ = cache.slot(for: .ip(.loopbackV4, port: port), name: "a")
    }
    #expect(cache.slot(for: .ip(.loopbackV4, port: 1), name: "a") === first)
    let second = cache.slot(for: .ip(.loopbackV4, port: 2), name: "a")
    // The third was used longest ago.
    let third = cache.slot(for: .ip(.loopbackV4, port: 3), name: "a")
    _ = cache.slot(for: .ip(.loopbackV4, port: 1), name: "b")
    #expect(cache.slot(for: .ip(.loopbackV4, port: 1), name: "a") === first)
    #expect(cache.slot(for: .ip(.loopbackV4, port: 2), name: "a") === second)
    #expect(cache.slot(for: .ip(.loopbackV4, port: 3), name: "a") === third)
  }

  // MARK: After the handshake

  @Test("Late tickets and new keys are no data, and data follows them")
  func lateMessages() throws {
    let pair = try UpstreamPair(server(), context())
    try pair.shakeHands()
    #expect(try pair.read() == ([], .wantsInput))
    #expect(SSL_new_session_ticket(pair.ssl) == 1 && SSL_do_handshake(pair.ssl) == 1)
    #expect(try pair.read() == ([], .wantsInput))
    #expect(SSL_key_update(pair.ssl, SSL_KEY_UPDATE_REQUESTED) == 1)
    #expect(SSL_do_handshake(pair.ssl) == 1)
    #expect(try pair.read() == ([], .wantsInput))
    try pair.write(pattern(100))
    #expect(pair.serverReads() == pattern(100))
    pair.serverWrites(pattern(200))
    #expect(try pair.read().bytes == pattern(200))
    SSL_shutdown(pair.ssl)
    #expect(try pair.read().step == .closed)
  }

  @Test("A record that can't be decrypted ends the session with an alert")
  func forgery() throws {
    let pair = try UpstreamPair(server(), context())
    try pair.shakeHands()
    _ = try pair.read()
    pair.inbound = [23, 3, 3, 0, 30] + [UInt8](repeating: 1, count: 30)
    #expect(throws: TLSFailure.self) { _ = try pair.read() }
    #expect(pair.serverReads().isEmpty && pair.serverError == 1020)
  }
}
