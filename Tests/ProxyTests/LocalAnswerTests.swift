// LocalAnswer: what Martlet says itself, and where it sends people.

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

  @Test func anErrorSaysItsStatusAndNothingElse() {
    let answer = LocalAnswer(error: 502)
    #expect(String(decoding: answer.body, as: UTF8.self) == "502 Bad Gateway\n")
    #expect(written(answer) == (502, ["Content-Type: text/plain; charset=utf-8"]))
  }

  @Test func only503SaysWhenToComeBack() {
    #expect(written(LocalAnswer(error: 503)).lines.values(of: "Retry-After") == ["10"])
    for status in [400, 404, 408, 413, 421, 500, 502, 504] as [UInt16] {
      #expect(written(LocalAnswer(error: status)).lines.values(of: "Retry-After") == [])
    }
  }

  @Test(arguments: [
    400, 403, 404, 405, 408, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505,
  ])
  func everyStatusInUseHasItsWords(status: UInt16) {
    let body = String(decoding: LocalAnswer(error: status).body, as: UTF8.self)
    #expect(body.hasPrefix("\(status) ") && body != "\(status) Error\n")
    #expect(String(decoding: LocalAnswer(error: 599).body, as: UTF8.self) == "599 Error\n")
  }

  @Test func aRedirectLeadsSomewhere() {
    let answer = LocalAnswer(redirect: 308, to: Array("https://a/".utf8))
    #expect(String(decoding: answer.body, as: UTF8.self) == "Go to https://a/\n")
    #expect(written(answer).status == 308)
    #expect(written(answer).lines.values(of: "Location") == ["https://a/"])
  }

  @Test func withoutABodyThereIsNoContentType() {
    #expect(written(LocalAnswer(status: 204, body: [])) == (204, []))
    let empty = LocalAnswer(status: 200, contentType: "", body: [0x61])
    #expect(written(empty) == (200, []))
  }

  @Test func whoeverSpeaksPlainlyToATLSPortIsTold() {
    #expect(LocalAnswer.plaintextOnTLSPort.status == 400)
    let body = String(decoding: LocalAnswer.plaintextOnTLSPort.body, as: UTF8.self)
    #expect(body.contains("https"))
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

  @Test func theServerAsAWholeIsItsRoot() {
    var head = request(host: "a", path: "*")
    head.targetForm = .asterisk
    #expect(location(of: head) == "http://a/")
  }

  @Test func withoutAHostThereIsNowhereToGo() {
    #expect(location("https", of: request()) == nil)
    #expect(location(nil, "b", of: request()) == "http://b/")
  }
}
