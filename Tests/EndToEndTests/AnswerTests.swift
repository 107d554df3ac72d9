// Martlet's own answers: errors, redirects, fixed responses, and field edits of routes.

import Foundation
import Testing

@Suite(.serialized) struct AnswerTests {
  // MARK: Backends that fail

  @Test func `502 when all refuse, without their addresses in the answer`() throws {
    let dead = try (0..<2).map { _ in "127.0.0.1:\(try freePort())" }
    let martlet = try MartletProcess(backends: dead, pool: #""health": "off""#)
    let answer = try martlet.get()
    #expect(answer.status == 502)
    #expect(!"\(answer)".contains("127.0.0.1"))
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "connect-refused")
    let attempts = try #require(line["attempts"] as? [[String: Any]])
    #expect(Set(attempts.compactMap { $0["backend"] as? String }) == Set(dead))
  }

  @Test func `503 with Retry-After when all are down`() throws {
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:\(try freePort())"],
      pool: #""health": { "interval": "100ms", "fast-interval": "100ms", "fall": 2 }"#)
    var answer: Message?
    try eventually("the checks find it down") {
      answer = try martlet.get()
      return answer?.status == 503
    }
    #expect(answer?["Retry-After"] == "10")
    #expect(!"\(String(describing: answer))".contains("127.0.0.1"))
  }

  @Test func `503 when no backend has passed a check yet`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], pool: #""health": { "initially": "down", "interval": "1h" }"#)
    #expect(try martlet.get().status == 503)
  }

  @Test func `a pool without healthy backends may fail open`() throws {
    let stub = try StubBackend("open")
    let martlet = try MartletProcess(
      backends: [stub],
      pool: #""health": { "initially": "down", "interval": "1h" }, "when-all-down": "fail-open""#)
    #expect(try martlet.get().text == "open")
  }

  @Test func `504 when the backend takes too long`() throws {
    let stub = try StubBackend { _, wire in
      _ = try wire.takeRest()
      return false
    }
    let martlet = try MartletProcess(
      backends: [stub], pool: #""timeouts": { "response": "200ms", "request": "400ms" }"#)
    let answer = try martlet.get()
    #expect(answer.status == 504)
    #expect(!"\(answer)".contains("127.0.0.1"))
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "response-timeout")
  }

  @Test(arguments: [
    "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
  ])
  func `502 when the backend's response isn't HTTP or is ambiguous`(_ bytes: String) throws {
    let stub = try StubBackend { _, wire in
      try wire.send(bytes)
      return false
    }
    let martlet = try MartletProcess(backends: [stub])
    #expect(try martlet.get().status == 502)
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "bad-response")
  }

  // MARK: Requests that are refused

  @Test(arguments: [
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: a\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: miracles\r\n\r\nab", 417),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000000000\r\n\r\n", 413),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET /" + String(repeating: "x", count: 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (
      "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "x", count: 33_000) + "\r\n\r\n", 431
    ),
    (
      "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 101) + "\r\n", 431
    ),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("\u{16}\u{03}\u{01}\u{00}\u{10}garbage\r\n\r\n", 400),
  ])
  func `an invalid request gets its status, and the connection closes`(
    _ request: String, _ status: Int
  ) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    try wire.send(request)
    let answer = try wire.takeResponse()
    #expect(answer.status == status)
    #expect(answer["Connection"] == "close")
    #expect(wire.endsQuietly())
    // Invalid framing within the body is found after the head was forwarded.
    if !request.contains("xyz") { #expect(stub.requests.isEmpty) }
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["status"] as? Int == status)
    #expect(line["failure"] != nil)
    #expect(try martlet.get().status == 200)
  }

  @Test func `408 for a head that isn't complete in time`() throws {
    let martlet = try MartletProcess(
      backends: ["127.0.0.1:1"], rest: #""limits": { "head": "200ms" }"#)
    let wire = try martlet.wire()
    try wire.send("GET / HTTP/1.1\r\n")
    let answer = try wire.takeResponse()
    #expect(answer.status == 408)
    #expect(answer["Connection"] == "close")
    #expect(wire.endsQuietly())
  }

  @Test func `408 for a body that stops`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "body-idle": "200ms", "collect-wait": "50ms" }"#)
    let answer = try martlet.answer(
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
    #expect(answer.status == 408)
  }

  @Test func `an idle connection is closed without an answer`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""limits": { "keep-alive": "100ms" }"#)
    let wire = try martlet.wire()
    #expect(try wire.get().status == 200)
    #expect(wire.endsQuietly())
  }

  // MARK: Routes

  private static let routes = #"""
    {
      "listeners": [{ "listen": "127.0.0.1:0" }, { "listen": "127.0.0.1:0", "name": "second" }],
      "pools": [
        { "name": "web", "backends": ["WEB"] },
        { "name": "api", "backends": ["API"] }
      ],
      "routes": [
        { "host": "site.example", "forward": "web",
          "request": { "set": { "X-Added": "by-martlet", "User-Agent": "changed" },
                       "remove": ["Cookie"] },
          "response": { "set": { "X-Frame-Options": "DENY" }, "remove": ["Server"] } },
        { "host": "site.example", "path": "/api", "forward": "api" },
        { "host": "site.example", "path": "/ping", "match": "exact",
          "respond": { "body": "pong\n" } },
        { "host": "site.example", "path": "/gone", "respond": { "status": 410 } },
        { "host": "*.wild.example", "forward": "api" },
        { "host": "old.example", "redirect": { "host": "site.example", "scheme": "https" } },
        { "host": "site.example", "path": "/moved",
          "redirect": { "status": 302, "path": "/new" } },
        { "listeners": ["second"], "path": "/", "respond": { "body": "second" } }
      ],
      "log": { "target": "access.log" }
    }
    """#

  private static func start(
    _ change: (String) -> String = { $0 }
  ) throws -> (MartletProcess, web: StubBackend, api: StubBackend) {
    let web = try StubBackend { _, wire in
      try wire.send(
        "HTTP/1.1 200 OK\r\nServer: secret/1\r\nX-Frame-Options: ALLOW\r\n"
          + "Content-Length: 3\r\n\r\nweb")
      return true
    }
    let api = try StubBackend("api")
    let text = change(
      routes.replacingOccurrences(of: "WEB", with: web.address)
        .replacingOccurrences(of: "API", with: api.address))
    return (try MartletProcess(text, keeping: [web, api]), web, api)
  }

  private static func get(
    _ martlet: MartletProcess, _ host: String, _ path: String, _ fields: String = ""
  ) throws -> Message {
    try martlet.answer("GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n")
  }

  @Test func `the most specific route wins, on segment boundaries`() throws {
    let (martlet, _, _) = try Self.start()
    func text(_ host: String, _ path: String) throws -> String {
      try Self.get(martlet, host, path).text
    }
    #expect(try text("site.example", "/") == "web")
    #expect(try text("SITE.example:80", "/") == "web")
    #expect(try text("site.example", "/api") == "api")
    #expect(try text("site.example", "/api/x?y") == "api")
    #expect(try text("site.example", "/apix") == "web")
    #expect(try text("site.example", "/%61pi") == "api")
    #expect(try text("site.example", "/x/../api") == "api")
    #expect(try text("site.example", "/ping") == "pong\n")
    #expect(try text("site.example", "/ping/") == "web")
    #expect(try text("a.wild.example", "/") == "api")
    #expect(try text("a.b.wild.example", "/") == "api")
    #expect(try Self.get(martlet, "wild.example", "/").status == 404)
    #expect(try Self.get(martlet, "other.example", "/").status == 404)
    #expect(try Self.get(martlet, "site.example", "/gone/x").status == 410)
    #expect(try martlet.get("/", listener: 1).text == "second")
  }

  @Test func `a route changes fields of requests and responses`() throws {
    let (martlet, web, _) = try Self.start()
    let answer = try Self.get(
      martlet, "site.example", "/", "Cookie: a=b\r\nUser-Agent: curl\r\nX-Added: client\r\n")
    #expect(answer[all: "X-Frame-Options"] == ["DENY"])
    #expect(answer["Server"] == nil)
    let request = try #require(web.lastRequest)
    #expect(request[all: "X-Added"] == ["by-martlet"])
    #expect(request[all: "User-Agent"] == ["changed"])
    #expect(request["Cookie"] == nil)
  }

  @Test func `a redirect keeps what it doesn't replace`() throws {
    let (martlet, _, _) = try Self.start()
    let old = try Self.get(martlet, "old.example:8080", "/a/b?c=d")
    #expect(old.status == 308)
    #expect(old["Location"] == "https://site.example/a/b?c=d")
    let moved = try Self.get(martlet, "site.example", "/moved?x")
    #expect(moved.status == 302)
    #expect(moved["Location"] == "http://site.example/new?x")
  }

  @Test func `encoded slashes are kept, and forwarded unchanged`() throws {
    let (martlet, web, _) = try Self.start()
    #expect(try Self.get(martlet, "site.example", "/api%2Fx").text == "web")
    #expect(web.lastRequest?.target == "/api%2Fx")
  }

  @Test func `encoded slashes and dot segments can be refused`() throws {
    let (martlet, _, _) = try Self.start {
      $0.replacingOccurrences(
        of: #""log""#,
        with: #""paths": { "encoded-slashes": "refuse", "dot-segments": "refuse" }, "log""#)
    }
    #expect(try Self.get(martlet, "site.example", "/a%2Fb").status == 400)
    #expect(try Self.get(martlet, "site.example", "/a/../b").status == 400)
    #expect(try Self.get(martlet, "site.example", "/a/%2e%2E/b").status == 400)
    #expect(try Self.get(martlet, "site.example", "/a..b").status == 200)
  }

  @Test func `encoded slashes can be decoded before a route is selected`() throws {
    let (martlet, _, api) = try Self.start {
      $0.replacingOccurrences(
        of: #""log""#, with: #""paths": { "encoded-slashes": "decode" }, "log""#)
    }
    #expect(try Self.get(martlet, "site.example", "/api%2Fx").text == "api")
    #expect(api.requests.count == 1)
  }

  @Test func `dot segments never reach a backend`() throws {
    let (martlet, web, _) = try Self.start()
    #expect(try Self.get(martlet, "site.example", "/a/%2e%2e/x/../b/./c?d=../e").status == 200)
    #expect(web.lastRequest?.target == "/b/c?d=../e")
    // A path above the root has no meaning.
    #expect(try Self.get(martlet, "site.example", "/a/%2e%2e/../b").status == 400)
  }

  @Test func `a plain listener redirects to https, except for certificate renewals`() throws {
    let acme = try StubBackend("challenge")
    let martlet = try MartletProcess(
      """
      {
        "listeners": [{ "listen": "127.0.0.1:0", "redirect-to-https": 8443 }],
        "pools": [{ "name": "web", "backends": ["127.0.0.1:1"] },
                  { "name": "acme", "backends": [\(acme.json)] }],
        "routes": [{ "forward": "web" },
                   { "path": "/.well-known/acme-challenge", "forward": "acme" }],
        "log": { "target": "access.log" }
      }
      """, keeping: [acme])
    let answer = try martlet.answer("GET /a?b HTTP/1.1\r\nHost: site.example:80\r\n\r\n")
    #expect(answer.status == 308)
    #expect(answer["Location"] == "https://site.example:8443/a?b")
    #expect(try martlet.get("/.well-known/acme-challenge/token").text == "challenge")
    #expect(try martlet.get("/.well-known/acme-challengex").status == 308)
    #expect(try martlet.get("/.well-known/acme-challenge/../x").status == 308)
  }
}
