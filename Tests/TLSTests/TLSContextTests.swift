// What a listener negotiates: versions, ALPN, names, tickets.

import COpenSSL
import Synchronization
import Testing

@testable import TLS

@Suite("TLSContext") struct TLSContextTests {
  let authority = TestAuthority.shared

  @Test("SNI picks the certificate: exact, wildcard of one label, and the default for others")
  func serverNames() throws {
    let context = try makeContext([
      authority.certificate(.p256, names: "DNS:a.test"),
      authority.certificate(.p256, names: "DNS:*.example.test"),
      authority.certificate(.p256, names: "DNS:www.example.test,DNS:b.test"),
    ])
    let expected: [(String?, String)] = [
      ("a.test", "a.test"), ("A.TEST", "a.test"), ("b.test", "www.example.test"),
      ("www.example.test", "www.example.test"), ("api.example.test", "*.example.test"),
      ("API.Example.Test", "*.example.test"), ("a.b.example.test", "a.test"),
      ("example.test", "a.test"), ("unknown.test", "a.test"), (nil, "a.test"),
    ]
    for version in TLSVersion.allCases {
      for (name, certificate) in expected {
        let pair = try SessionPair(
          context, ClientOffer(serverName: name, maximum: version.code))
        try pair.shakeHands()
        #expect(pair.client.peerName == certificate, "for \(name ?? "no name")")
        #expect(pair.serverName == name ?? "")
      }
    }
  }

  @Test("An RSA and an ECDSA certificate for one name serve each client what it can verify")
  func bothAlgorithms() throws {
    let context = try makeContext([
      authority.certificate(.p256), authority.certificate(.rsa2048),
    ])
    let rsa = try SessionPair(
      context, ClientOffer(signatures: "RSA-PSS+SHA256:RSA+SHA256"))
    try rsa.shakeHands()
    #expect(rsa.client.peerKeyName == "RSA")
    let ecdsa = try SessionPair(context)
    try ecdsa.shakeHands()
    #expect(ecdsa.client.peerKeyName == "EC")
  }

  @Test("ALPN selects http/1.1 among others, and sends nothing if the client offers none")
  func alpn() throws {
    let context = try makeContext()
    let both = try SessionPair(context, ClientOffer(protocols: ["h2", "http/1.1"]))
    try both.shakeHands()
    #expect(both.client.selectedProtocol == "http/1.1")
    let old = try SessionPair(context, ClientOffer(protocols: ["http/1.0"]))
    try old.shakeHands()
    #expect(old.client.selectedProtocol == "http/1.0")
    let either = try SessionPair(context, ClientOffer(protocols: ["http/1.0", "http/1.1"]))
    try either.shakeHands()
    #expect(either.client.selectedProtocol == "http/1.1")
    let none = try SessionPair(context)
    try none.shakeHands()
    #expect(none.client.selectedProtocol == nil)
  }

  @Test("ALPN works for a server name other than the default")
  func alpnOfSecondName() throws {
    let context = try makeContext([
      authority.certificate(), authority.certificate(.p256, names: "DNS:b.test"),
    ])
    let pair = try SessionPair(
      context, ClientOffer(serverName: "b.test", protocols: ["http/1.1"]))
    try pair.shakeHands()
    #expect(pair.client.selectedProtocol == "http/1.1")
  }

  @Test("A client with only unknown protocols gets no_application_protocol (RFC 7301 3.2)")
  func alpnMismatch() throws {
    let pair = try SessionPair(makeContext(), ClientOffer(protocols: ["h2", "http/1.10"]))
    _ = try pair.client.step()
    pair.inbound = pair.client.take()
    #expect(throws: TLSFailure.noApplicationProtocol) { try pair.handshake() }
    let failure = #expect(throws: ClientFailure.self) { try pair.client.step() }
    #expect(failure?.reason == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL)
  }

  @Test("The modern policy and a minimum of 1.3 refuse TLS 1.2")
  func versions() throws {
    for policy in [TLSPolicy(ciphers: .modern), TLSPolicy(minimumVersion: .tls13)] {
      let context = try makeContext(policy: policy)
      let old = try SessionPair(context, ClientOffer(maximum: TLS1_2_VERSION))
      _ = try old.client.step()
      old.inbound = old.client.take()
      #expect(throws: TLSFailure.unsupportedProtocol) { try old.handshake() }
      #expect(throws: ClientFailure.self) { try old.client.step() }
      let new = try SessionPair(context)
      try new.shakeHands()
      #expect(new.version == .tls13)
    }
  }

  @Test("TLS 1.1 is refused by the default policy")
  func tls11() throws {
    let pair = try SessionPair(
      makeContext(), ClientOffer(minimum: TLS1_1_VERSION, maximum: TLS1_1_VERSION))
    _ = try pair.client.step()
    pair.inbound = pair.client.take()
    #expect(throws: TLSFailure.unsupportedProtocol) { try pair.handshake() }
  }

  @Test("Clients without a common suite or group get an alert")
  func nothingShared() throws {
    let offers = [
      ClientOffer(maximum: TLS1_2_VERSION, tls12Suites: "AES256-SHA"),
      ClientOffer(maximum: TLS1_2_VERSION, tls12Suites: "ECDHE-ECDSA-AES128-SHA256"),
      ClientOffer(minimum: TLS1_3_VERSION, groups: "P-521"),
    ]
    for offer in offers {
      let pair = try SessionPair(makeContext(), offer)
      _ = try pair.client.step()
      pair.inbound = pair.client.take()
      #expect(throws: TLSFailure.noSharedCipher) { try pair.handshake() }
    }
  }

  @Test("The server's order of suites applies, except for clients that prefer ChaCha20")
  func preference() throws {
    let context = try makeContext()
    let strong = try SessionPair(
      context, ClientOffer(tls13Suites: "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"))
    try strong.shakeHands()
    #expect(strong.cipherSuite.code == 0x1301)
    let mobile = try SessionPair(
      context, ClientOffer(tls13Suites: "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"))
    try mobile.shakeHands()
    #expect(mobile.cipherSuite.code == 0x1303)
  }

  @Test("A client whose first key share is for P-384 completes after a HelloRetryRequest")
  func helloRetry() throws {
    let context = try makeContext([
      authority.certificate(), authority.certificate(.p256, names: "DNS:b.test"),
    ])
    let pair = try SessionPair(
      context, ClientOffer(serverName: "b.test", groups: "P-521:P-384"))
    try pair.shakeHands()
    #expect(pair.client.peerName == "b.test")
  }
}

/// A clock set by the test.
private final class TestClock: Sendable {
  private let seconds: Mutex<Int64>
  init(_ seconds: Int64) { self.seconds = Mutex(seconds) }
  var now: Int64 {
    get { seconds.withLock { $0 } }
    set { seconds.withLock { $0 = newValue } }
  }
}

@Suite("TLSContext: tickets") struct TicketTests {
  let authority = TestAuthority.shared

  /// Runs a handshake and returns whether the session was resumed, and a ticket for the next one.
  private func connect(
    _ context: TLSContext, _ version: TLSVersion, name: String? = "a.test",
    ticket: ClientTicket? = nil
  ) throws -> (isResumed: Bool, ticket: ClientTicket) {
    let pair = try SessionPair(
      context, ClientOffer(serverName: name, maximum: version.code, ticket: ticket))
    try pair.shakeHands()
    #expect((SSL_session_reused(pair.client.ssl) == 1) == pair.isResumed)
    #expect(pair.serverName == name ?? "")
    // Data after the handshake proves that both sides have the same keys.
    try pair.writeAll([7])
    #expect(try pair.client.read() == [7])
    let next = pair.client.ticket
    #expect(next.hasTicket)
    return (pair.isResumed, next)
  }

  @Test("A ticket resumes, and so does the ticket that replaces it", arguments: TLSVersion.allCases)
  func resumes(version: TLSVersion) throws {
    let context = try makeContext()
    let first = try connect(context, version)
    #expect(!first.isResumed)
    let second = try connect(context, version, ticket: first.ticket)
    #expect(second.isResumed)
    // With TLS 1.3 clients use a ticket only once, so there must be another one for the next time.
    #expect((second.ticket.bytes != first.ticket.bytes) == (version == .tls13))
    #expect(try connect(context, version, ticket: second.ticket).isResumed)
  }

  @Test("However often it is resumed, a session ends two hours after its full handshake",
    arguments: TLSVersion.allCases)
  func sessionLife(version: TLSVersion) throws {
    let start: Int64 = 1_000_000
    let clock = TestClock(start)
    let keys = try TicketKeys()
    let context = try makeContext(keys: keys, clock: { clock.now })
    var ticket = try connect(context, version).ticket
    for age in [1000, 4000, 7000, 7199] as [Int64] {
      clock.now = start + age
      // So that there is a new ticket with TLS 1.2 too.
      try keys.rotate()
      let next = try connect(context, version, ticket: ticket)
      #expect(next.isResumed)
      // The client is told the remaining lifetime, not a new one.
      if version == .tls13 {
        #expect(Int64(SSL_SESSION_get_ticket_lifetime_hint(next.ticket.session)) == 7200 - age)
      }
      ticket = next.ticket
    }
    // The ticket is one second old, and the session two hours.
    clock.now = start + 7200
    let fresh = try connect(context, version, ticket: ticket)
    #expect(!fresh.isResumed)
    clock.now += 7000
    #expect(try connect(context, version, ticket: fresh.ticket).isResumed)
  }

  @Test("A ticket from a clock that is ahead is valid within a minute of ours",
    arguments: TLSVersion.allCases)
  func skew(version: TLSVersion) throws {
    let clock = TestClock(1_000_000)
    let context = try makeContext(clock: { clock.now })
    let ticket = try connect(context, version).ticket
    clock.now -= 60
    #expect(try connect(context, version, ticket: ticket).isResumed)
    clock.now -= 1
    #expect(try !connect(context, version, ticket: ticket).isResumed)
  }

  @Test("Another worker's context resumes the session too", arguments: TLSVersion.allCases)
  func acrossContexts(version: TLSVersion) throws {
    let keys = try TicketKeys()
    let ticket = try connect(makeContext(keys: keys), version).ticket
    #expect(try connect(makeContext(keys: keys), version, ticket: ticket).isResumed)
  }

  @Test("A ticket is valid after a rotation, is replaced then, and ends with its key",
    arguments: TLSVersion.allCases)
  func rotation(version: TLSVersion) throws {
    let keys = try TicketKeys()
    let context = try makeContext(keys: keys)
    let old = try connect(context, version).ticket
    try keys.rotate()
    let renewed = try connect(context, version, ticket: old)
    #expect(renewed.isResumed)
    for _ in 1..<TicketKeys.keyCountMax { try keys.rotate() }
    #expect(try !connect(context, version, ticket: old).isResumed)
    #expect(try connect(context, version, ticket: renewed.ticket).isResumed)
  }

  @Test("Another listener refuses the ticket", arguments: TLSVersion.allCases)
  func otherListener(version: TLSVersion) throws {
    let keys = try TicketKeys()
    let ticket = try connect(makeContext(keys: keys, listener: "public"), version).ticket
    let other = try makeContext(keys: keys, listener: "internal")
    #expect(try !connect(other, version, ticket: ticket).isResumed)
  }

  @Test("Another server name refuses the ticket, even under the same certificate",
    arguments: TLSVersion.allCases)
  func otherName(version: TLSVersion) throws {
    let context = try makeContext([
      authority.certificate(.p256, names: "DNS:*.example.test"),
      authority.certificate(.p256, names: "DNS:b.test"),
    ])
    let ticket = try connect(context, version, name: "x.example.test").ticket
    #expect(try connect(context, version, name: "x.example.test", ticket: ticket).isResumed)
    for name in ["y.example.test", "b.test", nil] {
      #expect(try !connect(context, version, name: name, ticket: ticket).isResumed)
    }
  }

  @Test("Nodes that share secrets resume each other's sessions, in any order of the ring",
    arguments: TLSVersion.allCases)
  func sharedSecrets(version: TLSVersion) throws {
    let one = pattern(80)
    let two = Array(pattern(200)[100..<148])
    let here = try #require(TicketKeys(secrets: [one, two]))
    let there = try #require(TicketKeys(secrets: [two, one]))
    let stranger = try #require(TicketKeys(secrets: [two]))
    let ticket = try connect(makeContext(keys: here), version).ticket
    #expect(try connect(makeContext(keys: there), version, ticket: ticket).isResumed)
    #expect(try !connect(makeContext(keys: stranger), version, ticket: ticket).isResumed)
  }

  @Test(
    "A certificate behind a second name resumes its own sessions", arguments: TLSVersion.allCases)
  func secondName(version: TLSVersion) throws {
    let context = try makeContext([
      authority.certificate(), authority.certificate(.p256, names: "DNS:b.test"),
    ])
    let ticket = try connect(context, version, name: "b.test").ticket
    #expect(try connect(context, version, name: "b.test", ticket: ticket).isResumed)
  }
}
