// Martlet's own error responses for browsers, programs and command-line clients.

import Foundation
import Testing

@Suite(.serialized) struct ErrorPageTests {
  private static let browser =
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
  private static let program = "Accept: application/json\r\n"

  private func dead() throws -> String { "127.0.0.1:\(try freePort())" }

  @Test(arguments: ["/", "/none"])
  func `the form is the one that the client prefers, and its id leads to the log line`(
    _ path: String
  ) throws {
    // One is answered within an exchange, the other before there is an exchange.
    let martlet = try MartletProcess(
      backends: [try dead()], pool: #""health": "off""#,
      rest: #""routes": [{ "match": "exact" }]"#)
    let status = path == "/" ? 502 : 404
    let text = try martlet.get(path, "Accept: */*\r\n")
    #expect(text["Content-Type"] == "text/plain; charset=utf-8")
    let page = try martlet.get(path, Self.browser)
    #expect(page["Content-Type"] == "text/html; charset=utf-8")
    #expect(page.text.hasPrefix("<!DOCTYPE html>") && page.text.contains("<b>\(status)</b>"))
    let object = try martlet.get(path, Self.program)
    #expect(object["Content-Type"] == "application/problem+json")
    let problem = try martlet.get(path, "Accept: application/problem+json\r\n")
    #expect(problem["Content-Type"] == "application/problem+json")
    let decoded = try #require(
      try JSONSerialization.jsonObject(with: Data(problem.body)) as? [String: Any])
    #expect(decoded["status"] as? Int == status)

    let lines = try martlet.accessLines(atLeast: 4)
    for answer in [text, page, object, problem] {
      #expect(answer.status == status)
      #expect(answer["Vary"] == "Accept" && answer["Cache-Control"] == "no-store")
      // The workers' lines may be in any order.
      let line = try #require(
        lines.first { answer.text.contains($0["request_id"] as? String ?? "none") })
      #expect((line["request_id"] as? String)?.count == 32)
      #expect(line["sent"] as? Int == answer.body.count)
      #expect(!"\(answer)".contains("127.0.0.1"))
    }
    #expect(lines.contains { $0["request_id"] as? String == decoded["request_id"] as? String })
  }

  @Test(arguments: ["/", "/none"])
  func `HEAD gets the length of the page`(_ path: String) throws {
    let martlet = try MartletProcess(
      backends: [try dead()], pool: #""health": "off""#,
      rest: #""routes": [{ "match": "exact" }]"#)
    let fields = "Host: localhost\r\nX-Request-ID: known\r\n\(Self.browser)\r\n"
    let wire = try martlet.wire()
    let get = try wire.exchange("GET \(path) HTTP/1.1\r\n\(fields)")
    let head = try wire.exchange("HEAD \(path) HTTP/1.1\r\n\(fields)")
    #expect(get.body.count > 1000)
    #expect(head["Content-Length"] == "\(get.body.count)")
    #expect(head["Content-Type"] == get["Content-Type"])
    // If there were a body, parsing this response would fail.
    #expect(try wire.exchange("GET \(path) HTTP/1.1\r\n\(fields)").status == get.status)
    let lines = try martlet.accessLines(atLeast: 3)
    #expect(lines.map { $0["sent"] as? Int } == [get.body.count, 0, get.body.count])
  }

  @Test func `an id from the client can't break out of the page`() throws {
    let martlet = try MartletProcess(backends: [try dead()], pool: #""health": "off""#)
    let page = try martlet.get(
      "/", "X-Request-ID: \"><script>alert('x')</script>\r\n" + Self.browser)
    #expect(page.text.contains("<code>&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;<"))
    #expect(!page.text.contains("<script"))
  }

  @Test func `a request that can't be parsed is answered in plain text`() throws {
    let martlet = try MartletProcess(backends: ["127.0.0.1:1"])
    let answer = try martlet.answer("GET / HTTP/1.1\r\nBad Name: x\r\n\(Self.browser)\r\n")
    #expect(answer.status == 400)
    #expect(answer.text == "400 Bad Request\nThe request was not understood.\n")
  }

  // MARK: Custom pages

  private func paged(_ rest: String = "", route: String = "") throws -> MartletProcess {
    let folder = TemporaryFolder()
    try folder.write("<p>{status} sorry {request-id}</p>", to: "sorry.html")
    try folder.write("shop closed", to: "shop.txt")
    let stub = try StubBackend { _, wire in
      try wire.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nmine")
      return true
    }
    return try MartletProcess(
      """
      {
        "listeners": [{ "listen": "127.0.0.1:0" }],
        "pools": [
          { "name": "dead", "backends": ["\(try dead())"], "health": "off" },
          { "name": "busy", "backends": ["\(stub.address)"] }
        ],
        "routes": [
          { "path": "/busy", "forward": "busy" }, { "path": "/dead", "forward": "dead" },
          { "path": "/shop", "forward": "dead", "error-pages": { "502": "shop.txt" } }
        ],
        "error-pages": { "5xx": "sorry.html", "400": "sorry.html" },
        "log": { "target": "access.log" }
      }
      """, in: folder, keeping: [stub])
  }

  @Test func `the operator's pages replace ours, and never a backend's`() throws {
    let martlet = try paged()
    let page = try martlet.get("/dead", "X-Request-ID: <1>\r\n")
    #expect(page.status == 502 && page.text == "<p>502 sorry &lt;1&gt;</p>")
    #expect(page["Content-Type"] == "text/html; charset=utf-8")
    #expect(try martlet.get("/shop", Self.browser).text == "shop closed")
    #expect(try martlet.get("/busy").text == "mine")
    #expect(try martlet.get("/none").text.hasPrefix("404 Not Found\n"))
    #expect(try martlet.answer("GET / HTTP/1.1\r\n\r\n").text == "<p>400 sorry -</p>")
    #expect(try martlet.get("/dead", Self.program).text.contains("\"status\":502"))
  }

  @Test func `a changed error page is used, and an invalid one changes nothing`() throws {
    let martlet = try paged()
    try martlet.folder.write("{status} anew", to: "sorry.html")
    try eventually("it is taken up") { try martlet.get("/dead").text == "502 anew" }

    try martlet.folder.write(String(repeating: "x", count: 64 * 1024 + 1), to: "sorry.html")
    eventually("it is refused") { martlet.log.contains("the new configuration is refused") }
    #expect(martlet.log.contains("error-pages.400: sorry.html is larger"))
    #expect(try martlet.get("/dead").text == "502 anew")
  }

  @Test func `check finds invalid pages`() throws {
    let folder = TemporaryFolder()
    try Data([0xFF]).write(to: URL(filePath: folder.path("latin.html")))
    try folder.write(String(repeating: "{status}", count: 33), to: "many.txt")
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["127.0.0.1:1"] }],
        "routes": [{ "error-pages": { "404": "latin.html" } }],
        "error-pages": { "404": "gone.html", "5xx": "many.txt" } }
      """, to: "config.json")
    let result = try run([Installation.binary, "check"], in: folder.path)
    #expect(result.status == 1)
    for part in [
      "error-pages.404: gone.html can't be read: No such file", "error-pages.5xx: many.txt has",
      "routes[0].error-pages.404: latin.html isn't UTF-8",
    ] {
      #expect(result.errors.contains(part), "\(result.errors)")
    }
  }
}
