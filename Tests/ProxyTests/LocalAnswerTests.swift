// LocalAnswer: Martlet's own answers and redirects.

import HTTP
import Primitives
import Proxy
import Testing

@Suite struct LocalAnswerTests {
  private func written(_ answer: LocalAnswer) -> (status: UInt16, lines: [String]) {
    var head = response([("Stale", "1")])
    answer.write(to: &head)
    let status = head.status
    return (status, lines(head.fields))
  }

  private func body(_ answer: LocalAnswer) -> String {
    guard case .fixed(_, let body) = answer.content else { return "explanation" }
    return String(decoding: body, as: UTF8.self)
  }

  @Test func whatAnErrorSaysIsLeftToTheExplanation() {
    #expect(body(LocalAnswer(error: 502)) == "explanation")
    #expect(written(LocalAnswer(error: 502)) == (502, []))
  }

  @Test func only503SaysWhenToComeBack() {
    #expect(written(LocalAnswer(error: 503)).lines.values(of: "Retry-After") == ["10"])
    for status in [400, 404, 408, 413, 421, 500, 502, 504] as [UInt16] {
      #expect(written(LocalAnswer(error: status)).lines.values(of: "Retry-After") == [])
    }
  }

  @Test func aRedirectLeadsSomewhere() {
    let answer = LocalAnswer(redirect: 308, to: Array("https://a/".utf8))
    #expect(body(answer) == "Go to https://a/\n")
    #expect(written(answer).status == 308)
    #expect(written(answer).lines.values(of: "Location") == ["https://a/"])
  }

  @Test func withoutABodyThereIsNoContentType() {
    #expect(written(LocalAnswer(status: 204, body: [])) == (204, []))
    let empty = LocalAnswer(status: 200, contentType: "", body: [0x61])
    #expect(written(empty) == (200, []))
  }

  @Test func plainHTTPOnATLSPortGetsAnExplanation() {
    #expect(LocalAnswer.plaintextOnTLSPort.status == 400)
    #expect(body(.plaintextOnTLSPort).contains("https"))
  }

  // MARK: Redirects

  private func location(
    _ scheme: String? = nil, _ host: String? = nil, _ port: UInt16? = nil, _ path: String? = nil,
    of head: borrowing RequestHead, isTLS: Bool = false
  ) -> String? {
    RedirectTarget(
      scheme: scheme.map { Array($0.utf8) }, host: host.map { Array($0.utf8) }, port: port,
      path: path.map { Array($0.utf8) }
    ).location(for: head, isTLS: isTLS).map { String(decoding: $0, as: UTF8.self) }
  }

  @Test func whatIsNotGivenIsTheRequests() {
    let head = request(host: "example.org:8080", path: "/a", query: "b=c")
    #expect(location(of: head) == "http://example.org:8080/a?b=c")
    #expect(location(of: head, isTLS: true) == "https://example.org:8080/a?b=c")
    #expect(location("https", of: head) == "https://example.org/a?b=c")
    #expect(location("https", nil, 8443, of: head) == "https://example.org:8443/a?b=c")
    #expect(location(nil, "b", of: head) == "http://b/a?b=c")
    #expect(location(nil, "b", 81, of: head) == "http://b:81/a?b=c")
    #expect(location(nil, nil, 81, of: head) == "http://example.org:81/a?b=c")
    #expect(location(nil, nil, nil, "/new", of: head) == "http://example.org:8080/new?b=c")
    #expect(location(nil, nil, nil, "/new?x", of: head) == "http://example.org:8080/new?x")
  }

  @Test func anEmptyQueryIsKept() {
    #expect(location(of: request(host: "a", query: "")) == "http://a/?")
    #expect(location(of: request(host: "a")) == "http://a/")
  }

  @Test func ipv6KeepsItsBrackets() {
    #expect(location("https", of: request(host: "[::1]:80")) == "https://[::1]/")
  }

  @Test func anAsteriskIsRedirectedAsTheRoot() {
    var head = request(host: "a", path: "*")
    head.targetForm = .asterisk
    #expect(location(of: head) == "http://a/")
  }

  @Test func withoutAHostThereIsNowhereToGo() {
    #expect(location("https", of: request()) == nil)
    #expect(location(nil, "b", of: request()) == "http://b/")
  }
}
