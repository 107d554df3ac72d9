// A pool's sticky cookie: how it is read and set.

import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct StickinessTests {
  private func stickiness(_ secure: Stickiness.Secure = .automatic) -> Stickiness {
    Stickiness(
      name: Array("shop".utf8), attributes: Array("; Path=/; HttpOnly".utf8), secure: secure)
  }

  private func cookie(_ token: UInt64, _ secure: Stickiness.Secure, isTLS: Bool) -> [String] {
    var head = response([])
    stickiness(secure).set(token, isTLS: isTLS, in: &head.fields)
    return lines(head.fields)
  }

  @Test func theCookieIsSetWithItsAttributes() {
    let plain = "Set-Cookie: shop=00000000000000ff; Path=/; HttpOnly"
    #expect(cookie(0xFF, .automatic, isTLS: false) == [plain])
    #expect(cookie(0xFF, .automatic, isTLS: true) == [plain + "; Secure"])
    #expect(cookie(0xFF, .always, isTLS: false) == [plain + "; Secure"])
    #expect(cookie(0xFF, .never, isTLS: true) == [plain])
  }

  @Test(arguments: [1, 0xFF, 0x0123_4567_89AB_CDEF, UInt64.max])
  func whatIsSetIsReadBack(token: UInt64) throws {
    let line = try #require(cookie(token, .never, isTLS: false).first)
    let value = line.dropFirst("Set-Cookie: ".count).prefix(while: { $0 != ";" })
    let head = request([("Cookie", "a=b; \(value)")])
    #expect(tokens(head) == [token])
  }

  private func tokens(_ head: borrowing RequestHead) -> [UInt64] {
    let tokens = stickiness().tokens(in: head.fields)
    return tokens.indices.map { tokens[$0] }.filter { $0 != 0 }
  }

  @Test func allCookiesOfTheNameAreReadButNoMoreThanEight() {
    let one = "shop=0000000000000001"
    let head = request([
      ("Cookie", "\(one); shop=stale; shop=0000000000000002"), ("Cookie", "shop=00000000000000ff"),
    ])
    #expect(tokens(head) == [1, 2, 0xFF])
    let many = request([("Cookie", Array(repeating: one, count: 1000).joined(separator: "; "))])
    #expect(tokens(many).count == 8)
  }

  @Test(arguments: [
    "", "shop=", "shop=ff", "shop=00000000000000FF", "shop=g000000000000000",
    "other=00000000000000ff", "shop=00000000000000ff0", "shop=\"0000000000000ff\"",
  ])
  func aMadeUpTokenIsIgnored(cookie: String) {
    let head = request(cookie.isEmpty ? [] : [("Cookie", cookie)])
    #expect(tokens(head) == [])
  }
}
