// maglev in the whole process: two nodes with the same backends agree, by each kind of key. Tiers
// and panic: which backends serve, and what operators see of it.

import Foundation
import Testing

@Suite(.serialized) struct AffinityTests {
  /// Runs a command with this process's socket.
  private func command(_ martlet: MartletProcess, _ arguments: String...) throws -> String {
    try run(
      [Installation.binary] + arguments + ["--socket", martlet.folder.path("admin.sock")],
      in: martlet.folder.path
    ).output
  }

  private func answer(
    _ martlet: MartletProcess, _ target: String, _ fields: String
  ) throws -> String {
    let wire = try martlet.wire()
    try wire.send("GET \(target) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n")
    return try wire.takeResponse().text
  }

  /// `#` stands for the key.
  @Test(arguments: [
    ("header:X-User", "/", "x-user: user-#\r\n"),
    ("cookie:sid", "/", "Cookie: a=1; sid=s#\r\n"),
    ("query:tenant", "/?x=1&tenant=#", ""),
  ])
  func `two nodes send each key to the same backend`(
    _ key: String, _ target: String, _ fields: String
  ) throws {
    let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
    let pool = #""strategy": "maglev", "hash-key": "\#(key)", "health": "off""#
    let first = try MartletProcess(backends: stubs, pool: pool)
    // In another order, and with an edit that removes what was hashed.
    let second = try MartletProcess(
      backends: stubs.reversed(), pool: pool,
      rest: #"""
        "routes": [{ "forward": "default", "request": { "remove": ["X-User", "Cookie"] } }]
        """#)
    var answers: [String] = []
    for number in 0..<40 {
      let target = target.replacing("#", with: "\(number)")
      let fields = fields.replacing("#", with: "\(number)")
      let text = try answer(first, target, fields)
      #expect(try answer(second, target, fields) == text)
      answers.append(text)
    }
    #expect(Set(answers) == ["a", "b", "c"])
    // Without the key, the address of the client counts: always the same.
    let others = try (0..<10).map { _ in try answer(first, "/", "") }
    #expect(Set(others).count == 1)
  }

  @Test func `names take the place of addresses`() throws {
    func martlet() throws -> (MartletProcess, [StubBackend]) {
      let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
      let backends = zip(stubs, ["one", "two", "three"]).map {
        Detailed(backend: $0, keys: #""name": "\#($1)""#)
      }
      return (
        try MartletProcess(
          backends: backends, pool: #""strategy": "maglev", "hash-key": "header:X""#), stubs
      )
    }
    let (first, _) = try martlet()
    let (second, _) = try martlet()
    for number in 0..<30 {
      #expect(
        try answer(first, "/", "X: \(number)\r\n") == answer(second, "/", "X: \(number)\r\n"))
    }
  }

  @Test func `tiers share by the health of the first, and operators see it`() throws {
    let stubs = try ["a", "b", "c"].map { try StubBackend($0) }
    let martlet = try MartletProcess(
      backends: [stubs[0], stubs[1], Detailed(backend: stubs[2], keys: #""tier": 1"#)],
      pool: #""failover": {}"#)
    #expect(Set(try (0..<20).map { _ in try martlet.get().text }) == ["a", "b"])
    _ = try command(martlet, "drain", "default/\(stubs[1].address)")
    let answers = try (0..<100).map { _ in try martlet.get().text }
    #expect((10...55).contains(answers.count { $0 == "c" }))
    let status = try command(martlet, "status")
    #expect(status.contains("tier 0: 70 %, 1 of 2 up; tier 1: 30 %, 1 of 1 up"))
    let explanation = try command(martlet, "explain", "GET", "http://a:\(martlet.port)/")
    #expect(explanation.contains("available: tier 1 gets 30 % of the requests"))
  }

  @Test func `in a panic all backends serve, healthy or not`() throws {
    let stubs = try (0..<2).map { _ in
      try StubBackend { request, wire in
        let status = request.target == "/health" ? "500 Broken" : "200 OK"
        try wire.send("HTTP/1.1 \(status)\r\nContent-Length: 1\r\n\r\n$")
        return true
      }
    }
    let martlet = try MartletProcess(
      backends: stubs,
      pool: #"""
        "failover": { "panic-percent": 60 },
        "health": { "check": "http", "path": "/health", "interval": "100ms",
          "fast-interval": "100ms", "fall": 1 }
        """#)
    try eventually("checks fail") {
      try command(martlet, "status").contains("too few are up: health is ignored")
    }
    for _ in 0..<6 { #expect(try martlet.get().status == 200) }
    #expect(stubs.allSatisfy { $0.requests.contains { $0.target == "/" } })
  }
}
