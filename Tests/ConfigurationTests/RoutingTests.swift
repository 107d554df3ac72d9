// The routes of a listener, in the order in which they are matched.

import Testing

@testable import Configuration

@Suite("The routes of a listener")
struct RoutingTests {
  private func describe(_ route: Configuration.Route) -> String {
    (route.hosts.first?.description ?? "any") + (route.match == .exact ? " =" : " ") + route.path
  }

  @Test("the most specific comes first, whatever the order in the file")
  func order() throws {
    let routes = [
      #"{ "respond": {} }"#, #"{ "path": "/api", "respond": {} }"#,
      #"{ "path": "/api/v1", "respond": {} }"#,
      #"{ "path": "/api", "match": "exact", "respond": {} }"#,
      #"{ "host": ["a.example.com", "*.example.com"], "respond": {} }"#,
      #"{ "host": "*.b.example.com", "path": "/x", "respond": {} }"#,
      #"{ "listeners": ["two"], "path": "/only", "respond": {} }"#,
    ]
    for order in [routes, routes.reversed()] {
      let text = """
        { "listeners": [{ "name": "one", "listen": "*:1" }, { "name": "two", "listen": "*:2" }],
          "routes": [\(order.joined(separator: ", "))] }
        """
      let read = try #require(configuration(text))
      let expected = [
        "a.example.com /", "*.b.example.com /x", "*.example.com /", "any =/api", "any /api/v1",
        "any /api", "any /",
      ]
      #expect(read.routes(on: read.listeners[0]).map(describe) == expected)
      #expect(read.routes(on: read.listeners[1]).map(describe) == ["any /only"] + expected)
    }
  }

  @Test("a listener that redirects serves only ACME challenges")
  func redirect() throws {
    let read = try #require(
      configuration(
        """
        { "listeners": [{ "listen": "*:80", "redirect-to-https": 8443 }], \(somePools),
          "routes": [{ }, { "path": "/.well-known/acme-challenge/", "forward": "default" },
            { "path": "/.well-known/acme-challengers", "respond": {} },
            { "host": "a.b", "path": "/.well-known/acme-challenge/x", "respond": {} }] }
        """))
    let routes = read.routes(on: read.listeners[0])
    #expect(
      routes.map(describe) == [
        "a.b /.well-known/acme-challenge/x", "any /.well-known/acme-challenge/", "any /",
      ])
    var expected = Configuration.Redirect()
    expected.scheme = .https
    expected.port = 8443
    #expect(routes.last?.action == .redirect(expected))
    #expect(expected.status == 308)
  }

  @Test("clients that use TLS to a trusted proxy are served, with HSTS, and not redirected")
  func trustedTLS() throws {
    let read = try #require(
      configuration(
        """
        { "listeners": [{ "listen": "*:80", "redirect-to-https": 443, "hsts": {} },
            { "listen": "*:81" }], \(somePools),
          "trusted-proxies": ["10.0.0.0/8"],
          "routes": [{ }, { "path": "/.well-known/acme-challenge/", "forward": "default" }] }
        """))
    let listener = read.listeners[0]
    #expect(read.distinguishesTLS(on: listener) && !read.distinguishesTLS(on: read.listeners[1]))
    let routes = read.routes(on: listener, byTLS: true)
    #expect(
      routes.map(\.action) == [.forward(pool: "default"), .forward(pool: "default")])
    #expect(routes.allSatisfy { $0.responseEdits.set.map(\.name) == ["Strict-Transport-Security"] })
    let others = read.routes(on: listener)
    guard case .redirect = others.last?.action else {
      Issue.record("\(others)")
      return
    }
    #expect(others.allSatisfy { $0.responseEdits.isEmpty })
  }

  @Test("HSTS is a field that every response of a TLS listener gets")
  func hsts() throws {
    let read = try #require(
      configuration(
        """
        { "listeners": [{ "listen": "*:443", "hsts": { "include-subdomains": true },
            "tls": { "certificates": [{ "chain": "c", "key": "k" }] } }],
          \(somePools), "routes": [{ }, { "path": "/x", "respond": {} }] }
        """))
    let fields = read.routes(on: read.listeners[0]).map(\.responseEdits.set)
    let expected = Configuration.Field(
      name: "Strict-Transport-Security", value: "max-age=31536000; includeSubDomains")
    #expect(fields == [[expected], [expected]])
    #expect(Configuration.HSTS().fieldValue == "max-age=31536000")
  }
}
