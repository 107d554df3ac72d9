// TCP listeners between real peers: Redis and PostgreSQL, with and without TLS, and nginx behind
// TLS that is passed through.

import Foundation
import Testing

@Suite(.serialized) struct TCPTests {
  // MARK: Strategies

  /// All connections of one client have the same source, and each has a port of its own.
  @Test(arguments: [("source", 1), ("5-tuple", 2)])
  func `a tuple selects the backend of a connection`(_ key: String, _ count: Int) throws {
    let backends = try (0..<2).map { _ in try StubBackend() }
    let list = backends.map { "\"127.0.0.1:\($0.port)\"" }.joined(separator: ", ")
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "app" }],
        "pools": [{ "name": "app", "backends": [\(list)], "health": "off",
          "strategy": "maglev", "hash-key": "\(key)" }],
        "log": { "target": "access.log" } }
      """, keeping: backends)
    for _ in 0..<20 { #expect(try martlet.get().status == 200) }
    let lines = try martlet.accessLines(atLeast: 20)
    let used = lines.compactMap { line in
      (line["attempts"] as? [[String: Any]])?.first?["backend"] as? String
    }
    #expect(used.count >= 20 && Set(used).count == count, "\(used)")
  }

  // MARK: Databases

  @Test func `redis is reached through TCP, and through TLS that ends here`() throws {
    let redis = try Redis()
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      """
      { "listeners": [
          { "name": "plain", "listen": "127.0.0.1:0", "protocol": "tcp" , "pool": "redis" },
          { "name": "secure", "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "redis",
            "tls": { "certificates": [\(certificates.entry())] } }],
        "pools": [{ "name": "redis", "backends": ["\(redis.address)"],
          "health": { "send": "PING\\r\\n", "reply": "+PONG", "interval": "100ms" } }],
        "log": { "target": "access.log" } }
      """, keeping: [redis])
    let value = String(repeating: "v", count: 200_000)
    let script = "SET key \(value)\nSTRLEN key\nGET key\n"
    let secure = ["--tls", "--sni", "localhost", "--cacert", certificates.authority]
    for (port, options) in zip(martlet.ports, [[], secure]) {
      let result = try run(Redis.client(port, options), input: script)
      #expect(result.output.hasPrefix("OK\n200000\n\(value)"), "\(result.errors)\(martlet.log)")
    }
    let lines = try martlet.accessLines(atLeast: 2)
    for line in lines {
      #expect(line["kind"] as? String == "tcp" && line["pool"] as? String == "redis", "\(line)")
      #expect(line["failure"] == nil && line["status"] == nil)
      #expect(try #require(line["sent"] as? Int) > 200_000)
      #expect(try #require(line["received"] as? Int) > 200_000)
      let attempts = line["attempts"] as? [[String: Any]]
      #expect(attempts?.count == 1 && attempts?.first?["result"] as? String == "ok")
      #expect(attempts?.first?["backend"] as? String == redis.address)
    }
    #expect(lines.compactMap { $0["sni"] as? String } == ["localhost"])
    let state = try run([
      Installation.binary, "status", "--socket", martlet.folder.path("admin.sock"),
    ])
    #expect(state.output.contains("tcp") && state.output.contains("1 of 1 up"), "\(state)")
    #expect(try martlet.terminate() == 0)
  }

  /// The second listener ends the TLS that the first one's pool begins.
  @Test func `postgresql is reached through TCP, and through TLS from one listener to another`()
    throws
  {
    let postgres = try Postgres()
    let certificates = try Certificates()
    let port = try freePort()
    let martlet = try MartletProcess(
      """
      { "listeners": [
          { "name": "a", "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "direct" },
          { "name": "b", "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "over-tls" },
          { "listen": "127.0.0.1:\(port)", "protocol": "tcp", "pool": "direct",
            "tls": { "certificates": [\(certificates.entry())] } }],
        "pools": [
          { "name": "direct", "backends": ["\(postgres.address)"] },
          { "name": "over-tls", "backends": ["127.0.0.1:\(port)"],
            "health": "off",
            "tls": { "ca": "\(certificates.authority)", "server-name": "localhost" } }],
        "log": { "target": "access.log" } }
      """, keeping: [postgres])
    for index in 0..<2 {
      let sum = try Postgres.query(
        martlet.ports[index], "select count(*), sum(n) from generate_series(1, 3000) n")
      #expect(sum.output == "3000|4501500\n", "\(sum.errors)\(martlet.log)")
      let rows = try Postgres.query(
        martlet.ports[index], "select repeat(n::text, 100) from generate_series(1, 3000) n")
      #expect(rows.output.split(separator: "\n").count == 3000)
    }
    let lines = try martlet.accessLines(atLeast: 6)
    #expect(lines.allSatisfy { $0["failure"] == nil }, "\(lines)")
    #expect(try martlet.terminate() == 0)
  }

  @Test func `a backend that is gone is passed over, and its connections are reset`() throws {
    let first = try Redis()
    let second = try Redis()
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp" }],
        "pools": [{ "backends": ["\(first.address)", "\(second.address)"], "health": "off",
          "ejection": "off" }],
        "log": { "target": "access.log" } }
      """, keeping: [first, second])
    first.process.end()
    for _ in 0..<6 {
      #expect(try run(Redis.client(martlet.port) + ["ping"]).output == "PONG\n")
    }
    let lines = try martlet.accessLines(atLeast: 6)
    let attempts = lines.compactMap { $0["attempts"] as? [[String: Any]] }
    #expect(attempts.contains { $0.count == 2 && $0[0]["result"] as? String == "connect-refused" })
    second.process.end()
    let wire = try martlet.wire()
    #expect(throws: (any Error).self) { _ = try wire.takeRest() }
    let last = try #require(try martlet.accessLines(atLeast: 7).last)
    #expect(last["failure"] as? String == "connect-refused")
  }

  @Test func `a check sends and expects bytes`() throws {
    let redis = try Redis()
    func martlet(_ reply: String) throws -> MartletProcess {
      try MartletProcess(
        """
        { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp" }],
          "pools": [{ "backends": ["\(redis.address)"],
            "health": { "send": "PING\\r\\n", "reply": "\(reply)", "initially": "down",
              "interval": "100ms", "rise": 1 } }] }
        """, keeping: [redis])
    }
    let right = try martlet("+PONG")
    eventually("it is up") {
      (try? run(Redis.client(right.port) + ["ping"]).output) == "PONG\n"
    }
    let wrong = try martlet("-ERR")
    eventually("it is down, and why is told") {
      let status = try? run([
        Installation.binary, "explain", "tcp", "127.0.0.1:\(wrong.port)", "--socket",
        wrong.folder.path("admin.sock"),
      ]).output
      return status?.contains("not the expected reply") == true
    }
    #expect(try run(Redis.client(wrong.port) + ["ping"]).output != "PONG\n")
    eventually("the process log has what clients get") {
      wrong.log.contains("no backend is available: connections are reset")
    }
    let status = try run([
      Installation.binary, "status", "--socket", wrong.folder.path("admin.sock"),
    ]).output
    #expect(status.contains("\n  NO BACKEND IS AVAILABLE: connections are reset\n"), "\(status)")
  }

  // MARK: Names

  @Test func `TLS is passed through by its name, and clients see the backend's certificate`()
    throws
  {
    let certificates = try Certificates()
    try certificates.make("one", names: ["one.example"])
    try certificates.make("two", names: ["two.example"])
    let one = try TLSNginx(certificates, "one")
    let two = try TLSNginx(certificates, "two")
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", "routes": [
          { "sni": "one.example", "pool": "one" }, { "sni": "*.example", "pool": "two" }] }],
        "pools": [{ "name": "one", "backends": ["\(one.address)"] },
          { "name": "two", "backends": ["\(two.address)"] }],
        "log": { "target": "access.log" } }
      """, keeping: [one, two])
    for name in ["one", "two"] {
      let result = try run([
        "curl", "-sS", "--cacert", certificates.folder.path("\(name).crt"),
        "--resolve", "\(name).example:\(martlet.port):127.0.0.1",
        "https://\(name).example:\(martlet.port)/",
      ])
      #expect(result.output.contains("name=\(name).example"), "\(result)\(martlet.log)")
      let served = try run([
        "sh", "-c",
        "openssl s_client -connect 127.0.0.1:\(martlet.port) -servername \(name).example"
          + " </dev/null 2>/dev/null | openssl x509 -noout -subject",
      ])
      #expect(served.output.contains("\(name).example"), "\(served)")
    }
    let other = try run([
      "curl", "-sS", "--connect-to", "::127.0.0.1:\(martlet.port)", "https://elsewhere.test/",
    ])
    #expect(other.status != 0)
    let plain = try martlet.wire()
    try plain.send("GET / HTTP/1.1\r\n\r\n")
    #expect(throws: (any Error).self) { _ = try plain.takeRest() }
    let lines = try martlet.accessLines(atLeast: 6)
    #expect(lines.filter { $0["sni"] as? String == "one.example" }.count == 2)
    #expect(lines.contains { $0["failure"] as? String == "no-route" })
    #expect(lines.contains { $0["reason"] as? String == "not-tls" })
  }

  @Test func `TLS ends here, and ALPN selects the pool`() throws {
    let redis = try Redis()
    let nginx = try Nginx("web")
    let certificates = try Certificates()
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp",
          "tls": { "certificates": [\(certificates.entry())] }, "alpn": ["redis", "http/1.1"],
          "routes": [{ "alpn": "redis", "pool": "redis" },
            { "alpn": "http/1.1", "pool": "web" }] }],
        "pools": [{ "name": "redis", "backends": ["\(redis.address)"] },
          { "name": "web", "backends": ["\(nginx.address)"] }],
        "log": { "target": "access.log" } }
      """, keeping: [redis, nginx])
    let web = try run([
      "curl", "-sS", "--http1.1", "--cacert", certificates.authority,
      "https://localhost:\(martlet.port)/",
    ])
    #expect(web.output == "web\n", "\(web)\(martlet.log)")
    func pong(_ alpn: String) throws -> CommandResult {
      try run([
        "sh", "-c",
        "(printf 'PING\\r\\nQUIT\\r\\n'; sleep 0.5) | openssl s_client -quiet -alpn \(alpn)"
          + " -connect 127.0.0.1:\(martlet.port) 2>&1",
      ])
    }
    #expect(try pong("redis").output.contains("+PONG"))
    #expect(try !pong("other").output.contains("+PONG"))
  }

  // MARK: The process

  @Test func `a reload and an upgrade keep open connections`() throws {
    let redis = try Redis()
    let installed = try Installed()
    func configuration(_ attempts: Int) -> String {
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp" }],
        "pools": [{ "backends": ["\(redis.address)"], "retry": { "max-attempts": \(attempts) } }],
        "log": { "target": "access.log" }, "process": { "pid-file": "pid" } }
      """
    }
    let martlet = try installed.start(configuration(2), keeping: [redis])
    let wire = try martlet.wire()
    func ping() throws {
      try wire.send("PING\r\n")
      #expect(try wire.take(until: "\r\n") == "+PONG")
    }
    try ping()
    try martlet.reload(configuration(3))
    try ping()
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    try ping()
    #expect(try run(Redis.client(martlet.port) + ["ping"]).output == "PONG\n")
    wire.finishSending()
    #expect(try wire.takeRest() == [])
    #expect(try martlet.process.waitForExit() == 0)
  }

  @Test func `explain tells where a connection would go`() throws {
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "protocol": "tcp", "pool": "rest",
          "routes": [{ "sni": "*.db.example", "pool": "db" }] }],
        "pools": [{ "name": "db", "backends": ["127.0.0.1:1"] },
          { "name": "rest", "backends": ["127.0.0.1:2"] }] }
      """)
    func explain(_ kind: String, _ host: String) throws -> String {
      try run([
        Installation.binary, "explain", kind, "\(host):\(martlet.port)", "--socket",
        martlet.folder.path("admin.sock"),
      ]).output
    }
    let known = try explain("tls", "a.db.example")
    #expect(known.contains("127.0.0.1:1") && known.contains("forward to db"), "\(known)")
    #expect(try explain("tls", "other.example").contains("forward to rest"))
    #expect(try explain("tcp", "x").contains("not-tls"))
  }
}
