// UDP listeners with real sockets: sessions, their ends and limits, and backends that refuse.

import Foundation
import Testing

@Suite(.serialized) struct UDPTests {
  private func start(
    _ backends: [any ConfiguredBackend], listener: String = "", pool: String = "",
    rest: String = ""
  ) throws -> MartletProcess {
    let list = backends.map(\.json).joined(separator: ", ")
    return try MartletProcess(
      """
      { "listeners": [{ "name": "u", "listen": "127.0.0.1:0", "protocol": "udp"
          \(listener.isEmpty ? "" : ", " + listener) }],
        "pools": [{ "name": "p", "backends": [\(list)]\(pool.isEmpty ? "" : ", " + pool) }],
        "log": { "target": "access.log" }\(rest.isEmpty ? "" : ", " + rest) }
      """, keeping: backends)
  }

  // MARK: Sessions

  @Test func `a client keeps its backend, and gets the replies of this backend only`() throws {
    let backends = [try StubDatagrams("a"), try StubDatagrams("b")]
    let martlet = try start(backends, listener: #""idle": "200ms""#)
    let clients = try (0..<4).map { _ in try DatagramSocket() }
    var names: [String] = []
    for client in clients {
      let name = try #require(client.ask("1", martlet.port)).prefix(1)
      names.append(String(name))
      for index in 0..<20 { #expect(client.ask("\(index)", martlet.port) == "\(name):\(index)") }
      // An empty datagram is one too.
      #expect(client.ask("", martlet.port) == "\(name):")
    }
    #expect(names.sorted() == ["a", "a", "b", "b"])
    let large = String(repeating: "x", count: 60_000)
    #expect(clients[0].ask(large, martlet.port) == "\(names[0]):\(large)")
    // What somebody else sends to the session's socket is dropped.
    let session = try #require(backends[0].received.first).port
    let stranger = try DatagramSocket()
    stranger.send("forged", to: session)
    for client in clients { #expect(client.ask("next", martlet.port)?.hasSuffix("next") == true) }

    let lines = try martlet.accessLines(atLeast: 4)
    #expect(lines.count == 4)
    for line in lines {
      #expect(line["kind"] as? String == "udp" && line["listener"] as? String == "u", "\(line)")
      #expect(line["pool"] as? String == "p" && line["failure"] == nil && line["status"] == nil)
      #expect(line["client"] as? String == "127.0.0.1")
      let count = try #require(line["received_datagrams"] as? Int)
      #expect(count >= 23 && line["sent_datagrams"] as? Int == count)
      let received = try #require(line["received"] as? Int)
      #expect(line["sent"] as? Int == received + 2 * count)
      let attempts = line["attempts"] as? [[String: Any]]
      #expect(attempts?.count == 1 && attempts?.first?["result"] as? String == "ok")
    }
    #expect(Set(lines.compactMap { $0["client_port"] as? Int }) == Set(clients.map(\.port)))
    #expect(try martlet.metric("martlet_udp_sessions_total{result=\"ok\"}") == 4)
    #expect(try martlet.metric("martlet_udp_sessions_active") == 0)
    #expect(try martlet.metric("martlet_listener_udp_datagrams_received_total") == 4 * 23 + 1)
    #expect(try martlet.metric("martlet_listener_udp_datagrams_sent_total") == 4 * 23 + 1)
    #expect(try martlet.terminate() == 0)
  }

  @Test func `with responses, a session ends with its last reply`() throws {
    let backend = try StubDatagrams("a", replies: 2)
    let martlet = try start([backend], listener: #""responses": 2"#)
    let client = try DatagramSocket()
    for index in 0..<3 {
      #expect(client.ask("\(index)", martlet.port) == "a:\(index)")
      #expect(client.receiveText() == "a:\(index)")
      _ = try martlet.accessLines(atLeast: index + 1)
    }
    #expect(Set(backend.received.map(\.port)).count == 3, "each has a socket of its own")
    #expect(try martlet.metric("martlet_udp_sessions_active") == 0)
    for line in try martlet.accessLines() {
      #expect(line["sent_datagrams"] as? Int == 2 && line["failure"] == nil, "\(line)")
    }
  }

  @Test func `a session without the reply that should come is logged as such`() throws {
    let silent = try DatagramSocket()
    let martlet = try start(
      ["127.0.0.1:\(silent.port)"], listener: #""responses": 1, "idle": "100ms""#)
    let client = try DatagramSocket()
    for index in 0..<7 {
      client.send("x", to: martlet.port)
      _ = try martlet.accessLines(atLeast: index + 1)
    }
    let lines = try martlet.accessLines()
    #expect(lines.allSatisfy { $0["failure"] as? String == "response-timeout" }, "\(lines)")
    // A client can cause silence, so it is no failure of the backend.
    #expect(try martlet.metric("martlet_ejections_total") == 0)
  }

  @Test func `per datagram, the backends take turns`() throws {
    let backends = [try StubDatagrams("a"), try StubDatagrams("b")]
    let martlet = try start(backends, listener: #""per-datagram": true"#)
    let client = try DatagramSocket()
    for index in 0..<20 {
      #expect(client.ask("\(index)", martlet.port)?.hasSuffix(":\(index)") == true)
    }
    #expect(backends.map { $0.texts.count } == [10, 10])
    #expect(backends.allSatisfy { Set($0.received.map(\.port)).count == 1 })
    #expect(try martlet.metric("martlet_udp_sessions_active") == 2)
  }

  // MARK: Failures

  @Test(arguments: [false, true])
  func `a backend that refuses is left with the same datagram or the next`(
    _ perDatagram: Bool
  ) throws {
    let dead = try StubDatagrams("dead")
    let living = try StubDatagrams("b")
    let martlet = try start(
      [dead, living], listener: perDatagram ? #""per-datagram": true"# : "",
      pool: #""ejection": { "failures": 2 }"#)
    dead.end()
    // A closed port is refused.
    eventually("it is closed") { (try? DatagramSocket(port: dead.port)) != nil }
    // The first datagram to the closed port is lost: UDP tells only afterwards.
    for index in 0..<6 {
      let client = try DatagramSocket()
      let replies = (0..<4).compactMap { client.ask("\($0)", martlet.port, within: 0.3) }
      #expect(replies.count >= (perDatagram ? 2 : 3), "\(replies)")
      #expect(replies.allSatisfy { $0.hasPrefix("b:") }, "\(replies)")
      // By then, the closed one is ejected.
      if index > 3 { #expect(replies.count == 4) }
    }
    #expect(try martlet.metric("martlet_ejections_total") >= 1, "\(martlet.log)")
    #expect(
      try martlet.metric(
        "martlet_backend_failures_total{pool=\"p\",backend=\"\(dead.address)\","
          + "cause=\"connect-refused\"}") >= 2)
    #expect(try martlet.terminate() == 0)
    let attempts = try martlet.accessLines(atLeast: 6).compactMap {
      $0["attempts"] as? [[String: Any]]
    }
    let results = attempts.flatMap { $0.compactMap { $0["result"] as? String } }
    #expect(results.contains("connect-refused"))
    if !perDatagram { #expect(attempts.contains { $0.count == 2 }) }
  }

  @Test func `without a backend, datagrams are dropped and counted`() throws {
    let backend = try StubDatagrams("a")
    let martlet = try start([backend], rest: #""admin": {}"#)
    _ = try run([
      Installation.binary, "drain", "--force", "--socket", martlet.folder.path("admin.sock"),
      "p/\(backend.address)",
    ])
    let client = try DatagramSocket()
    client.send("1", to: martlet.port)
    client.send("2", to: martlet.port)
    let series = "martlet_listener_udp_datagrams_dropped_total{listener=\"u\",cause=\"no-backend\"}"
    try eventually("both are counted") { try martlet.metric(series) == 2 }
    _ = try run([
      Installation.binary, "enable", "--socket", martlet.folder.path("admin.sock"),
      "p/\(backend.address)",
    ])
    #expect(client.ask("3", martlet.port) == "a:3")
    #expect(backend.texts == ["3"])
  }

  // MARK: Limits

  @Test func `at a limit, the session ends that was not used for the longest time`() throws {
    let backend = try StubDatagrams("a")
    let martlet = try start(
      [backend], listener: #""max-sessions": 3"#, rest: #""workers": 1"#)
    let clients = try (0..<4).map { _ in try DatagramSocket() }
    for client in clients.prefix(3) { #expect(client.ask("1", martlet.port) == "a:1") }
    #expect(clients[0].ask("2", martlet.port) == "a:2")
    #expect(clients[3].ask("1", martlet.port) == "a:1")
    let line = try #require(try martlet.accessLines(atLeast: 1).first)
    #expect(line["failure"] as? String == "session-evicted", "\(line)")
    #expect(line["client_port"] as? Int == clients[1].port)
    #expect(try martlet.metric("martlet_udp_sessions_active") == 3)
    // It comes back with a session of its own.
    #expect(clients[1].ask("3", martlet.port) == "a:3")
  }

  @Test func `one address has its own limit`() throws {
    let backend = try StubDatagrams("a")
    let martlet = try start(
      [backend], listener: #""max-sessions-per-client": 2"#, rest: #""workers": 1"#)
    let other = try DatagramSocket(host: "127.0.0.2")
    #expect(other.ask("1", martlet.port) == "a:1")
    let clients = try (0..<5).map { _ in try DatagramSocket() }
    for client in clients { #expect(client.ask("1", martlet.port) == "a:1") }
    let lines = try martlet.accessLines(atLeast: 3)
    #expect(lines.map { $0["client_port"] as? Int } == clients.prefix(3).map(\.port))
    #expect(other.ask("2", martlet.port) == "a:2")
    #expect(try martlet.metric("martlet_udp_sessions_active") == 3)
  }

  // MARK: Reload, drain, stop

  @Test func `a reload keeps sessions, and new ones use the new pool`() throws {
    let old = try StubDatagrams("old")
    let new = try StubDatagrams("new")
    let martlet = try start([old])
    let client = try DatagramSocket()
    #expect(client.ask("1", martlet.port) == "old:1")
    let text = martlet.folder.read("config.json")
    try martlet.reload(text.replacingOccurrences(of: old.address, with: new.address))
    #expect(client.ask("2", martlet.port) == "old:2")
    #expect(Set(old.received.map(\.port)).count == 1)
    #expect(try DatagramSocket().ask("3", martlet.port) == "new:3")
    // The listener goes, and its sessions with it.
    try martlet.reload(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["127.0.0.1:1"] }],
        "log": { "target": "access.log" } }
      """)
    let lines = try martlet.accessLines(atLeast: 2)
    #expect(lines.allSatisfy { $0["failure"] as? String == "listener-removed" }, "\(lines)")
    #expect(try martlet.terminate() == 0)
  }

  @Test func `a drained backend keeps its sessions and gets no new ones`() throws {
    let backends = [try StubDatagrams("a"), try StubDatagrams("b")]
    let martlet = try start(backends)
    let client = try DatagramSocket()
    let name = try #require(client.ask("1", martlet.port)).prefix(1)
    let drained = try #require(backends.first { $0.name == name })
    _ = try run([
      Installation.binary, "drain", "--socket", martlet.folder.path("admin.sock"),
      "p/\(drained.address)",
    ])
    for index in 0..<6 {
      let other = try #require(try DatagramSocket().ask("\(index)", martlet.port))
      #expect(!other.hasPrefix(name))
    }
    #expect(client.ask("2", martlet.port) == "\(name):2")
  }

  @Test func `a stop ends quiet sessions after two seconds, and takes no new ones`() throws {
    let backend = try StubDatagrams("a")
    let martlet = try start([backend])
    let client = try DatagramSocket()
    #expect(client.ask("1", martlet.port) == "a:1")
    martlet.signal(SIGTERM)
    eventually("it drains") { martlet.log.contains("draining") }
    #expect(client.ask("2", martlet.port) == "a:2")
    let stranger = try DatagramSocket()
    stranger.send("x", to: martlet.port)
    #expect(try martlet.process.waitForExit() == 0)
    #expect(!backend.texts.contains("x"))
    #expect(try martlet.accessLines(atLeast: 1).count == 1)
  }

  // MARK: Health

  @Test func `a check sends a datagram and expects a reply`() throws {
    let backends = [try StubDatagrams("a"), try StubDatagrams("b")]
    let martlet = try start(
      backends,
      pool: #""health": { "send": "ping", "reply": "b:p", "interval": "100ms", "fall": 1 }"#)
    try eventually("the first is down") {
      try martlet.metric(
        "martlet_backend_up{pool=\"p\",backend=\"\(backends[0].address)\"}") == 0
    }
    eventually("the log says why") {
      martlet.log.contains("bad-response: not the expected reply")
    }
    for index in 0..<6 {
      #expect(try DatagramSocket().ask("\(index)", martlet.port) == "b:\(index)")
    }
    backends[1].end()
    try eventually("the other one is down too") {
      try martlet.metric(
        "martlet_backend_up{pool=\"p\",backend=\"\(backends[1].address)\"}") == 0
    }
    eventually("the log says why") { martlet.log.contains("connect-refused") }
  }

  @Test func `without a reply, only a refusal counts`() throws {
    let silent = try DatagramSocket()
    let dead = try StubDatagrams("dead")
    dead.end()
    let martlet = try start(
      ["127.0.0.1:\(silent.port)", dead],
      pool: #""health": { "send": "x", "interval": "100ms", "timeout": "50ms", "fall": 1 }"#)
    try eventually("the closed one is down") {
      try martlet.metric("martlet_backend_up{pool=\"p\",backend=\"\(dead.address)\"}") == 0
    }
    #expect(silent.receiveText() == "x")
    #expect(
      try martlet.metric("martlet_backend_up{pool=\"p\",backend=\"127.0.0.1:\(silent.port)\"}") == 1
    )
  }

  // MARK: Addresses

  /// The first listener's pool is the second listener.
  @Test func `a header in each datagram names the client`() throws {
    let backend = try StubDatagrams("a")
    let port = try freePort()
    let martlet = try MartletProcess(
      """
      { "listeners": [
          { "name": "outer", "listen": "127.0.0.1:0", "protocol": "udp", "pool": "inner" },
          { "name": "inner", "listen": "127.0.0.1:\(port)", "protocol": "udp", "pool": "app",
            "proxy-protocol": { "from": ["127.0.0.1"] }, "idle": "200ms" }],
        "pools": [
          { "name": "inner", "backends": ["127.0.0.1:\(port)"],
            "proxy-protocol": { "version": "v2", "tlvs": ["crc32c"] } },
          { "name": "app", "backends": [\(backend.json)] }],
        "log": { "target": "access.log" } }
      """, keeping: [backend])
    let clients = try (0..<3).map { _ in try DatagramSocket() }
    for client in clients {
      for index in 0..<3 { #expect(client.ask("\(index)", martlet.port) == "a:\(index)") }
      #expect(client.ask("", martlet.port) == "a:")
    }
    let lines = try martlet.accessLines(atLeast: 3)
    #expect(lines.allSatisfy { $0["listener"] as? String == "inner" }, "\(lines)")
    #expect(Set(lines.compactMap { $0["client_port"] as? Int }) == Set(clients.map(\.port)))
    #expect(lines.allSatisfy { $0["proxy"] as? String == "127.0.0.1" })
    // Without a header, or with an old one, a datagram is dropped.
    clients[0].send("x", to: port)
    clients[0].send("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nx", to: port)
    let series =
      "martlet_listener_udp_datagrams_dropped_total{listener=\"inner\",cause=\"proxy-header\"}"
    try eventually("both are counted") { try martlet.metric(series) == 2 }
    #expect(Set(backend.texts) == ["0", "1", "2", ""])
  }

  @Test func `a reply comes from the address to which the client has sent`() throws {
    let backend = try StubDatagrams("a")
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "0.0.0.0:0", "protocol": "udp" }],
        "pools": [{ "backends": [\(backend.json)] }], "log": { "target": "access.log" } }
      """, keeping: [backend])
    let client = try DatagramSocket(host: "0.0.0.0")
    for host in ["127.0.0.1", "127.0.0.5", "127.0.0.9"] {
      client.send(host, to: martlet.port, host: host)
      let reply = try #require(client.receive())
      #expect(reply.host == host && String(decoding: reply.bytes, as: UTF8.self) == "a:\(host)")
    }
  }

  @Test func `explain, status and check know UDP`() throws {
    let backend = try StubDatagrams("a")
    let martlet = try start([backend], listener: #""responses": 1"#)
    #expect(try DatagramSocket().ask("1", martlet.port) == "a:1")
    let socket = martlet.folder.path("admin.sock")
    let explained = try run([
      Installation.binary, "explain", "udp", "127.0.0.1:\(martlet.port)", "--socket", socket,
    ])
    #expect(explained.output.contains("action    forward to p"), "\(explained)")
    #expect(explained.output.contains("protocol  udp") && explained.output.contains("available"))
    let missing = try run([
      Installation.binary, "explain", "udp", "127.0.0.1:1", "--socket", socket,
    ])
    #expect(missing.errors.contains("no UDP listener has port 1"), "\(missing)")
    let status = try run([Installation.binary, "status", "--socket", socket])
    #expect(status.output.contains("udp"), "\(status)")
    let checked = try run([
      Installation.binary, "check", "--config", martlet.folder.path("config.json"),
    ])
    #expect(
      checked.output.contains("udp  10000 sessions, idle 5s, responses 1"), "\(checked)")
    let second = try run([
      Installation.binary, "run", "--config", martlet.folder.path("config.json"), "--listen",
      "127.0.0.1:\(martlet.port)",
    ])
    #expect(second.status != 0)
  }
}
