// Names of cipher suites, as in logs.

import COpenSSL
import Testing

@testable import TLS

@Suite("CipherSuite") struct CipherSuiteTests {
  @Test("Every suite of a policy can be negotiated and has OpenSSL's name")
  func names() throws {
    let authority = TestAuthority.shared
    let context = try makeContext([
      authority.certificate(.p256), authority.certificate(.rsa2048),
    ])
    for suite in TLSPolicy.tls12Suites.split(separator: ":").map(String.init) {
      let pair = try SessionPair(
        context, ClientOffer(maximum: TLS1_2_VERSION, tls12Suites: suite))
      try pair.shakeHands()
      #expect("\(pair.cipherSuite.name)" == suite)
      #expect(pair.client.cipherName == suite)
    }
    for suite in TLSPolicy.tls13Suites.split(separator: ":").map(String.init) {
      let pair = try SessionPair(context, ClientOffer(tls13Suites: suite))
      try pair.shakeHands()
      #expect("\(pair.cipherSuite.name)" == suite)
      #expect(pair.client.cipherName == suite)
    }
  }

  @Test("A suite outside the list has a name too")
  func unknown() {
    #expect("\(CipherSuite(code: 0).name)" == "unknown")
  }
}
