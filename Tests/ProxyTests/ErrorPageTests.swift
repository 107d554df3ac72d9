// Error responses: their form, their text, and the operator's pages.

import HTTP
import Primitives
import Proxy
import Testing

@Suite struct ErrorPageTests {
  private func explain(
    _ status: UInt16, _ form: ErrorForm, _ pages: ErrorPages = ErrorPages(), id: String = ""
  ) -> (body: String, lines: [String]) {
    var head = response([])
    var body = ByteBuffer()
    ErrorExplanation(of: status, in: form, pages: pages, requestID: Array(id.utf8))
      .write(to: &head, body: &body)
    return (String(decoding: body), lines(head.fields))
  }

  private func page(_ text: String, _ kind: ErrorPage.Kind = .html) throws -> ErrorPage {
    try #require(ErrorPage(Array(text.utf8), kind: kind))
  }

  // MARK: Forms

  @Test(arguments: [
    (nil, ErrorForm.text), ("*/*", .text), ("", .text), ("image/png", .text), ("text/*", .text),
    ("application/json", .problem), ("application/problem+json", .problem),
    ("application/problem+json, application/json", .problem),
    ("application/json;q=1, application/problem+json;q=0.5", .problem),
    // Browsers, and what sends requests from within their pages.
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", .html),
    ("application/json, text/plain, */*", .problem), ("text/html, application/json", .html),
    ("application/json, text/html;q=0.9", .problem),
    ("image/avif,image/webp,image/*,*/*;q=0.8", .text),
    // Clients that prefer another type get it.
    ("text/html;q=0.5, text/plain", .text), ("text/html;q=0.5, */*", .text),
    ("text/html;q=0, application/json;q=0", .text),
  ])
  func theFormIsWhatAcceptNames(accept: String?, form: ErrorForm) {
    let head = request(accept.map { [("Accept", $0)] } ?? [])
    #expect(ErrorForm(accepting: head.fields) == form)
  }

  @Test func everyFormHasStatusSentenceAndRequest() {
    for form in [ErrorForm.text, .html, .problem] {
      let body = explain(503, form, id: "abc-1").body
      for part in ["503", "Service Unavailable", "is not available at the moment", "abc-1"] {
        #expect(body.contains(part), "\(form): \(part)")
      }
      #expect(!explain(503, form).body.lowercased().contains("request"), "\(form)")
    }
  }

  @Test func whatTellsAboutTheBodyGoesWithIt() {
    let others = ["Cache-Control: no-store", "Vary: Accept"]
    let types: [(ErrorForm, String)] = [
      (.text, "text/plain; charset=utf-8"), (.html, "text/html; charset=utf-8"),
      (.problem, "application/problem+json"),
    ]
    for (form, type) in types {
      #expect(explain(404, form).lines == ["Content-Type: \(type)"] + others)
    }
  }

  @Test(arguments: [
    400, 403, 404, 408, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505,
  ])
  func everyStatusInUseHasItsWords(status: UInt16) {
    let words = explain(status, .text).body
    #expect(words.hasPrefix("\(status) ") && !words.hasPrefix("\(status) Error"))
    #expect(explain(status, .problem).body.contains("\"status\":\(status),"))
  }

  @Test func aStatusWithoutAPhraseHasATextToo() {
    #expect(explain(599, .text).body.hasPrefix("599 Error\nThe site is not working"))
    #expect(explain(499, .text).body.hasPrefix("499 Error\nThe request cannot"))
  }

  @Test func anIDFromOutsideMeansNothingInAnyForm() {
    let id = #"<b>&"'\</script>"#
    #expect(explain(404, .html, id: id).body.contains("&lt;b&gt;&amp;&quot;&#39;\\&lt;/script&gt;"))
    #expect(explain(404, .problem, id: id).body.contains(#""request_id":"<b>&\"'\\</script>""#))
    for odd in ["a b", "a\nb", "\u{7F}", "é", String(repeating: "x", count: 129)] {
      #expect(!explain(404, .text, id: odd).body.contains("Request "), "\(odd)")
    }
  }

  // MARK: Pages

  @Test func placeholdersAreReplacedAndOtherBracesAreNot() throws {
    let template = "{status} {reason}|{message}|{request-id}{ {x} {status {{status}}{"
    let pages = ErrorPages([(502...502, try page(template))], over: ErrorPages())
    let body = explain(502, .html, pages, id: "<i>").body
    #expect(
      body == "502 Bad Gateway|The site is not working as it should. Please try again in a few "
        + "minutes.|&lt;i&gt;{ {x} {status {502}{")
    #expect(explain(502, .html, pages).body.contains("|-{ "))
  }

  @Test(arguments: [
    (ErrorPage.Kind.html, "text/html; charset=utf-8", "&quot;&lt;"),
    (.xml, "application/xml", "&quot;&lt;"), (.json, "application/json", "\\\"<"),
    (.text, "text/plain; charset=utf-8", "\"<"),
  ])
  func theKindOfAPageSaysWhatIsEscaped(kind: ErrorPage.Kind, type: String, id: String) throws {
    let pages = ErrorPages([(400...499, try page("{request-id}", kind))], over: ErrorPages())
    let (body, lines) = explain(404, .text, pages, id: "\"<")
    #expect(body == id)
    #expect(lines.first == "Content-Type: \(type)")
  }

  @Test func theNearestPageIsTaken() throws {
    let outer = ErrorPages(
      [(500...599, try page("outer class")), (503...503, try page("outer 503"))],
      over: ErrorPages())
    let inner = ErrorPages(
      [(500...599, try page("inner class")), (502...502, try page("inner 502"))], over: outer)
    #expect(explain(502, .html, inner).body == "inner 502")
    #expect(explain(503, .html, inner).body == "inner class")
    #expect(explain(503, .html, outer).body == "outer 503")
    #expect(explain(504, .html, outer).body == "outer class")
    #expect(explain(404, .html, inner).body.hasPrefix("<!DOCTYPE html>"))
  }

  @Test func programsGetAPageOnlyIfItIsForThem() throws {
    let people = ErrorPages([(503...503, try page("sorry"))], over: ErrorPages())
    #expect(explain(503, .problem, people).body.hasPrefix("{\"title\""))
    #expect(explain(503, .text, people).body == "sorry")
    let programs = ErrorPages([(503...503, try page("{}", .json))], over: ErrorPages())
    for form in [ErrorForm.text, .html, .problem] {
      #expect(explain(503, form, programs).body == "{}")
    }
  }

  @Test func thereIsAnEndToPlaceholders() {
    let most = String(repeating: "{request-id}", count: ErrorPage.placeholderMax)
    #expect(ErrorPage(Array(most.utf8), kind: .html) != nil)
    #expect(ErrorPage(Array((most + "{status}").utf8), kind: .html) == nil)
  }
}
