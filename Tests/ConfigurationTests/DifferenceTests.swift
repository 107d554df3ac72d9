// The changes of a reload, as text.

import Testing

@testable import Configuration

@Suite struct DifferenceTests {
  private func difference(_ old: String, _ new: String) throws -> [String] {
    let before = try #require(Configuration.read(Array(old.utf8)).configuration)
    let after = try #require(Configuration.read(Array(new.utf8)).configuration)
    return before.changes(to: after).map { "\($0)" }
  }

  @Test func `another spelling of the same value is no difference`() throws {
    let old = #"{ "pools": [{ "backends": ["10.0.0.1:80", "10.0.0.2:80"] }] }"#
    let new = #"""
      { "pools": [{
          "backends": [{ "address": "10.0.0.2:80", "weight": 1 }, "10.0.0.1:80"],
          "strategy": "round-robin", "name": "default", "health": {} }],
        "limits": { "drain": "30s" }, "log": { "access": "json" } }
      """#
    #expect(try difference(old, new) == [])
  }

  @Test func `each change is one line, in the order of names`() throws {
    let old = #"""
      {
        "listeners": [
          { "listen": "*:443", "tls": {
            "certificates": [{ "chain": "/a.crt", "key": "/a.key" }] } },
          { "name": "web", "listen": "*:80", "redirect-to-https": 443 }
        ],
        "pools": [
          { "name": "app", "strategy": "weighted-round-robin",
            "backends": [{ "address": "a:1", "weight": 3 }, "b:1"] },
          { "name": "old", "backends": ["c:1"] }
        ],
        "routes": [{ "host": ["x.y"], "forward": "app" }, { "path": "/old", "forward": "old" }],
        "workers": 2
      }
      """#
    let new = #"""
      {
        "listeners": [
          { "name": "web", "listen": "*:80", "redirect-to-https": 8443 },
          { "listen": "*:443", "tls": { "certificates": [
            { "chain": "/a.crt", "key": "/b.key" }, { "chain": "/c.crt", "key": "/c.key" }] } }
        ],
        "pools": [
          { "name": "app", "strategy": "weighted-round-robin", "health": "off",
            "backends": [
              { "address": "b:1", "max-connections": 9 }, "a:1",
              { "address": "d:1", "weight": 2 }] }
        ],
        "routes": [{ "host": ["x.y"], "forward": "app" }],
        "limits": { "drain": "5s" },
        "workers": 3
      }
      """#
    #expect(
      try difference(old, new) == [
        #"~ limits.drain: "30s" -> "5s""#,
        #"~ listeners[*:443].tls.certificates[/a.crt].key: "/a.key" -> "/b.key""#,
        #"+ listeners[*:443].tls.certificates[/c.crt]: { "chain": "/c.crt", "key": "/c.key" }"#,
        "~ listeners[web].redirect-to-https: 443 -> 8443",
        "~ pools[app].backends[a:1].weight: 3 -> 1",
        "~ pools[app].backends[b:1].max-connections: not set -> 9",
        #"+ pools[app].backends[d:1]: { "address": "d:1", "weight": 2 }"#,
        #"~ pools[app].health: {} -> "off""#,
        #"- pools[old]: { "name": "old", "backends": ["c:1"] }"#,
        #"- routes[*/old]: { "path": "/old", "forward": "old" }"#,
        "~ workers: 2 -> 3  (takes effect after an upgrade or a restart)",
      ])
  }

  @Test func `routes with the same host and path are distinguished`() throws {
    let routes = { (second: String) in
      #"""
      { "listeners": [{ "name": "a", "listen": "*:1" }, { "name": "b", "listen": "*:2" }],
        "pools": [{ "backends": ["a:1"] }],
        "routes": [{ "listeners": ["a"] }, { "listeners": ["b"]\#(second) }] }
      """#
    }
    let changes = try difference(
      routes(""), routes(#", "request": { "remove": ["X"] }"#))
    #expect(changes == [#"~ routes[*/ on b].request.remove: [] -> ["X"]"#])
  }

  @Test func `what is left out shows with its default, and so do protocols of listeners`() throws {
    let file = { (protocols: String, tls: String, pool: String) in
      #"""
      { "listeners": [{ "listen": "*:1"\#(protocols)\#(tls) }],
        "pools": [{ "name": "p", "backends": ["a:1"]\#(pool) }] }
      """#
    }
    let tls = #", "tls": { "certificates": [{ "chain": "/a", "key": "/b" }] }"#
    let both = #", "protocols": ["h2", "http/1.1"]"#
    #expect(try difference(file("", tls, ""), file(both, tls, "")) == [])
    #expect(
      try difference(file("", "", ""), file(both, "", ""))
        == ["+ listeners[*:1].protocols[h2]"])
    let pool = #"""
      , "protocol": "h2", "timeouts": { "grpc-max": "1m" }, "keep-alive": { "max-age": "1h" },
      "retry": { "grpc-statuses": ["unavailable"] }
      """#
    #expect(
      try difference(file("", "", ""), file("", "", pool)) == [
        #"~ pools[p].keep-alive.max-age: "off" -> "1h""#,
        #"~ pools[p].protocol: "http/1.1" -> "h2""#,
        #"~ pools[p].retry.grpc-statuses: [] -> ["unavailable"]"#,
        #"~ pools[p].timeouts.grpc-max: "off" -> "1m""#,
      ])
  }

  @Test func `the order of routes is no difference, not even of those for one path`() throws {
    let file = { (routes: [String]) in
      #"""
      { "listeners": [{ "name": "a", "listen": "*:1" }, { "name": "b", "listen": "*:2" }],
        "pools": [{ "name": "p", "backends": ["a:1"] }, { "name": "q", "backends": ["b:1"] }],
        "routes": [\#(routes.joined(separator: ", "))] }
      """#
    }
    let routes = [
      #"{ "listeners": ["a", "b"], "path": "/x", "forward": "p" }"#,
      #"{ "path": "/x", "forward": "q" }"#,
      #"{ "host": ["y.z", "x.y"], "path": "/x", "forward": "p" }"#,
      #"{ "path": "/x", "match": "exact", "forward": "p" }"#,
    ]
    var others = Array(routes.reversed())
    others[1] = #"{ "host": ["x.y", "y.z"], "path": "/x", "forward": "p" }"#
    #expect(try difference(file(routes), file(others)) == [])
    others[0] = #"{ "path": "/x", "match": "exact", "forward": "q" }"#
    #expect(
      try difference(file(routes), file(others))
        == [#"~ routes[*/x exact].forward: "p" -> "q""#])
  }

  @Test func `a changed secret is reported without its value`() throws {
    let pool = { (key: String) in
      #"{ "pools": [{ "backends": ["a:1"], "stickiness": { "cookie": "c", "key": "\#(key)" } }] }"#
    }
    let changes = try difference(pool("one secret"), pool("another"))
    #expect(changes == ["~ pools[default].stickiness.key: (not shown) -> (not shown)"])
    let plain = #"{ "pools": [{ "backends": ["a:1"] }] }"#
    #expect(try !difference(plain, pool("one secret")).joined().contains("one secret"))
    #expect(try difference(plain, pool("one secret")).count > 0)
  }

  @Test func `programs get a list`() throws {
    let before = try #require(
      Configuration.read(Array(#"{ "pools": [{ "backends": ["a:1"] }] }"#.utf8)).configuration)
    var after = before
    after.workers = 4
    #expect(
      Configuration.json(of: before.changes(to: after)) == """
        [{ "change": "changed", "what": "workers", "new": "4", "needs-restart": true }]

        """)
    #expect(Configuration.json(of: []) == "[]\n")

    after.pools[0].backends = []
    after.log.level = .error
    let changes = before.changes(to: after)
    #expect(changes.count == 3)
    #expect(Configuration.changes(ofJSON: Array(Configuration.json(of: changes).utf8)) == changes)
    let unknown = #"[{ "change": "moved", "what": "a", "needs-restart": true }]"#
    for text in ["", "{}", "[{}]", unknown] {
      #expect(Configuration.changes(ofJSON: Array(text.utf8)) == nil, "\(text)")
    }
  }
}
