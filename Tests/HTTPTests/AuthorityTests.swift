// Valid and invalid hosts and ports.

import HTTP
import Testing

struct AuthorityTests {
  private func parse(_ text: [UInt8]) -> Authority? { Authority(text.span) }

  @Test(arguments: [
    ("example.org", "example.org", nil), ("example.org:8080", "example.org", 8080),
    ("example.org:", "example.org", nil), ("a_b.example:1", "a_b.example", 1),
    ("192.0.2.1:65535", "192.0.2.1", 65535), ("[2001:db8::1]", "[2001:db8::1]", nil),
    ("[::1]:443", "[::1]", 443), ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", nil),
    ("example.org:00080", "example.org", 80),
  ] as [(String, String, UInt16?)])
  func wellFormed(text: String, host: String, port: UInt16?) throws {
    let bytes = Array(text.utf8)
    let authority = try #require(parse(bytes))
    #expect(String(decoding: bytes[authority.host], as: UTF8.self) == host)
    #expect(authority.port == port)
  }

  @Test(arguments: [
    "", ":80", "a b", "a,b", "user@a", "user:pw@a", "a/b", "a?b", "a:80:80", "a:x", "a:-1", "a:+1",
    "a:65536", "a:0", "a:000080", "a: 80", "[]", "[::1", "::1", "[192.0.2.1]", "[::1]x", "[::1]80",
    "[fe80::1%25eth0]", "[v1.x]", "a%2eb", "a\u{0}b", "ä.example", "a;b", "a\\b", "[::1]]",
  ])
  func malformed(text: String) {
    #expect(parse(Array(text.utf8)) == nil)
  }

  @Test func aHostOf255BytesIsTheLongest() {
    let longest = String(repeating: "a.", count: 127) + "b"
    for port in ["", ":80"] {
      #expect(parse(Array("\(longest)\(port)".utf8))?.host == 0..<255)
      #expect(parse(Array("\(longest).\(port)".utf8)) == nil)
    }
  }
}
