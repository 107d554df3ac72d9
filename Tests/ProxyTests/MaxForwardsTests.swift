// Max-Forwards: decremented for TRACE and OPTIONS, and answered here at 0.

import HTTP
import Primitives
import Testing

@testable import Proxy

@Suite struct MaxForwardsTests {
  private func head(_ method: HTTP.Method, _ values: [String]) -> RequestHead {
    var head = request(values.map { ("Max-Forwards", $0) })
    head.method = method
    return head
  }

  private func forwarded(_ method: HTTP.Method, _ values: [String]) -> [String] {
    var head = head(method, values)
    _ = prepareRequest(
      &head, peer: address("192.0.2.1"), isTLS: true, policy: ForwardingPolicy())
    return lines(head.fields).values(of: "Max-Forwards")
  }

  @Test(arguments: [HTTP.Method.trace, .options])
  func eachProxyTakesOneOff(method: HTTP.Method) {
    #expect(forwarded(method, ["10"]) == ["9"])
    #expect(forwarded(method, ["1"]) == ["0"])
    #expect(forwarded(method, ["007"]) == ["6"])
    #expect(forwarded(method, ["5", "3"]) == ["2"] && forwarded(method, ["5, 3"]) == ["2"])
    #expect(forwarded(method, [String(repeating: "9", count: 40)]) == ["4294967295"])
    #expect(forwarded(method, []) == [])
  }

  @Test func forOtherMethodsItMeansNothing() {
    for method in [HTTP.Method.get, .head, .post, .delete, .other] {
      #expect(forwarded(method, ["0"]) == ["0"])
      let head = head(method, ["0"])
      let ends = head.endsHere
      #expect(!ends)
    }
  }

  @Test(arguments: [
    (["0"], true), (["00"], true), (["1"], false), ([], false), (["-1"], false), ([""], false),
    (["x"], false), (["3", "0"], true), (["x, 0"], true), (["0.5"], false),
  ])
  func atZeroTheRequestIsAnsweredHere(values: [String], ends: Bool) {
    for method in [HTTP.Method.trace, .options] {
      let head = head(method, values)
      let isEnd = head.endsHere
      #expect(isEnd == ends)
    }
  }
}
