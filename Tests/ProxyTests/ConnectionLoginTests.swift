// Which challenges and credentials are bound to a connection.

import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct ConnectionLoginTests {
  @Test(arguments: [
    ("NTLM TlRMTVNTUAAB", true), ("Negotiate YII", true), ("ntlm", true), ("NEGOTIATE abc", true),
    ("Nego2 x", true), ("Basic bnRsbQ==", false), ("Bearer negotiate", false), ("NTLMX y", false),
    ("", false), ("NTL", false), ("Digest username=\"ntlm\"", false),
  ])
  func credentialsAreKnownByTheirScheme(value: String, expected: Bool) {
    let head = request([("Authorization", value)])
    let logsIn = head.logsConnectionIn
    #expect(logsIn == expected)
  }

  @Test(arguments: [
    (["NTLM"], true), (["Negotiate, NTLM"], true), (["Basic realm=\"a\"", "ntlm"], true),
    (["Basic realm=\"a\", Negotiate"], true), (["Negotiate oRQwEqADCgEB"], true),
    (["Basic realm=\"NTLM\""], false), (["Bearer"], false), ([], false),
    (["Digest realm=\"a\", qop=\"auth\",NEGOTIATE"], true),
  ])
  func aChallengeMayStandAmongOthers(values: [String], expected: Bool) {
    for name in ["WWW-Authenticate", "Proxy-Authenticate"] {
      let head = response(values.map { (name, $0) })
      let asks = head.asksForConnectionLogin
      #expect(asks == expected)
    }
  }

  @Test func aRemovedFieldAsksForNothing() {
    var head = response([("WWW-Authenticate", "NTLM")])
    head.fields.remove(at: 0)
    let asks = head.asksForConnectionLogin
    #expect(!asks)
  }
}
