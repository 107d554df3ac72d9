// The admin interface: state and changes through the socket, the commands and the address.

import Foundation
import Testing

@Suite struct AdminTests {
  /// Runs a command with this process's socket.
  private func command(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    try run(
      [Installation.binary] + arguments + ["--socket", martlet.folder.path("admin.sock")],
      in: martlet.folder.path)
  }

  private func ask(
    _ martlet: MartletProcess, _ target: String, _ fields: String = "", method: String = "GET",
    body: String = ""
  ) throws -> Message {
    try Wire(port: martlet.adminPort()).exchange(
      "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(fields)"
        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
  }

  private func state(_ martlet: MartletProcess) throws -> [String: Any] {
    let result = try command(martlet, "status", "--json")
    #expect(result.status == 0, "\(result.errors)")
    let value = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    return try #require(value as? [String: Any])
  }

  private func pool(_ martlet: MartletProcess) throws -> [String: Any] {
    let pools = try #require(try state(martlet)["pools"] as? [[String: Any]])
    return try #require(pools.first)
  }

  private func backends(_ martlet: MartletProcess) throws -> [[String: Any]] {
    try #require(try pool(martlet)["backends"] as? [[String: Any]])
  }

  // MARK: Changes

  @Test func `a drained backend gets no requests until it is enabled`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one, two])
    #expect(try command(martlet, "drain", "default/\(one.address)").status == 0)
    for _ in 0..<6 { #expect(try martlet.get().text == "two") }
    #expect(try backends(martlet).map { $0["condition"] as? String } == ["draining", "up"])
    #expect(try command(martlet, "enable", "default/\(one.address)").status == 0)
    var seen: Set<String> = []
    for _ in 0..<6 { seen.insert(try martlet.get().text) }
    #expect(seen == ["one", "two"])
  }

  @Test func `a drain is kept by a reload`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one, two])
    #expect(try command(martlet, "drain", "default/\(one.address)").status == 0)
    #expect(try command(martlet, "reload").status == 0)
    for _ in 0..<6 { #expect(try martlet.get().text == "two") }
  }

  @Test func `the drain state of a backend is deleted after a thousand others have left`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(backends: [one, two])
    let wire = try Wire(path: martlet.folder.path("admin.sock"))
    func ask(_ method: String, _ place: String, _ body: String = "") throws -> Int {
      try wire.exchange(
        "\(method) /v1/pools/default/backends\(place) HTTP/1.1\r\nHost: localhost\r\n"
          + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
      ).status
    }
    func comeBack() throws -> String? {
      #expect(try ask("DELETE", "/\(two.address)") == 200)
      #expect(try ask("POST", "", #"{"address":"\#(two.address)"}"#) == 201)
      return try backends(martlet)[1]["condition"] as? String
    }
    #expect(try ask("PATCH", "/\(two.address)", #"{"state":"draining"}"#) == 200)
    #expect(try comeBack() == "draining")
    #expect(try ask("DELETE", "/\(two.address)") == 200)
    for number in 0..<1030 {
      let address = "10.0.\(number / 256).\(number % 256):80"
      #expect(try ask("POST", "", #"{"address":"\#(address)"}"#) == 201)
      #expect(try ask("DELETE", "/\(address)") == 200)
    }
    #expect(try ask("POST", "", #"{"address":"\#(two.address)"}"#) == 201)
    #expect(try backends(martlet)[1]["condition"] as? String == "up")
    var seen: Set<String> = []
    for _ in 0..<6 { seen.insert(try martlet.get().text) }
    #expect(seen == ["one", "two"])
  }

  @Test func `draining can wait for current exchanges`() throws {
    let folder = TemporaryFolder()
    let (slow, other) = (try StubBackend.halving(until: folder.path("go")), try StubBackend("x"))
    let martlet = try MartletProcess(backends: [slow, other])
    #expect(try command(martlet, "drain", "default/\(other.address)").status == 0)
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = try wire.take(until: "first")
    let socket = martlet.folder.path("admin.sock")
    let waiting = try ChildProcess(
      [
        Installation.binary, "drain", "--force", "--wait", "default/\(slow.address)", "--socket",
        socket,
      ])
    try eventually("it is drained") { try backends(martlet)[0]["admin"] as? String == "draining" }
    #expect(waiting.isRunning)
    let impatient = try command(
      martlet, "drain", "--wait", "--timeout", "1ms", "default/\(slow.address)")
    #expect(impatient.status == 70)
    #expect(
      impatient.errors.contains("still has 1 active request; it stays drained"),
      "\(impatient.errors)")
    try folder.write("", to: "go")
    #expect(try waiting.waitForExit() == 0)
    #expect(waiting.outputText.contains("is draining; 0 active requests"))
  }

  @Test func `the last available backend is drained only by force, and the log says what follows`()
    throws
  {
    let (one, dead) = (try StubBackend("one"), "127.0.0.1:\(try freePort())")
    let martlet = try MartletProcess(
      backends: [one, dead], pool: #""health": { "interval": "100ms", "fall": 1 }"#)
    try eventually("the other one is down") {
      try backends(martlet)[1]["condition"] as? String == "down"
    }
    #expect(try backends(martlet).map { $0["last_available"] as? Bool } == [true, false])
    let refused = try command(martlet, "drain", "default/\(one.address)")
    #expect(refused.status == 69 && refused.output.isEmpty)
    #expect(
      refused.errors == "martlet: error: \(one.address) is the last available backend of default; "
        + "without it, requests are refused with 503; use --force to drain it\n")
    #expect(try martlet.get().text == "one")
    // A backend that serves no requests can be drained without force.
    #expect(try command(martlet, "drain", "default/\(dead)").status == 0)
    #expect(try command(martlet, "drain", "--force", "default/\(one.address)").status == 0)
    #expect(try martlet.get().status == 503)
    let said = "no backend is available: requests are refused with 503"
    eventually("it is said") { martlet.log.contains(said) }
    let status = try command(martlet, "status").output
    #expect(status.contains("pool default  round-robin  http/1.1  0 of 2 up"), "\(status)")
    #expect(status.contains("\n  NO BACKEND IS AVAILABLE: requests are refused with 503\n"))
    #expect(try command(martlet, "enable", "default/\(one.address)").status == 0)
    eventually("that too") { martlet.log.contains("a backend is available again") }
    #expect(martlet.log.components(separatedBy: said).count == 2)
    #expect(try martlet.get().text == "one")
  }

  @Test func `at a terminal the last available backend is drained after a confirmation`() throws {
    let one = try StubBackend("one")
    let martlet = try MartletProcess(backends: [one])
    let drain =
      "\(Installation.binary) drain default/\(one.address)"
      + " --socket \(martlet.folder.path("admin.sock"))"
    func answering(_ answer: String) throws -> CommandResult {
      try run(["script", "-qec", drain, "/dev/null"], input: answer + "\n")
    }
    let kept = try answering("n")
    #expect(kept.status == 69 && kept.output.contains("Drain it? [y/N]"), "\(kept)")
    #expect(try martlet.get().text == "one")
    #expect(try answering("y").status == 0)
    #expect(try martlet.get().status == 503)
  }

  @Test func `removing the last available backend needs force as well`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(
      backends: [one, two], rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#,
      token: "0123456789abcdef")
    let key = "Authorization: Bearer 0123456789abcdef\r\n"
    #expect(try command(martlet, "drain", "default/\(one.address)").status == 0)
    let path = "/v1/pools/default/backends/\(two.address)"
    let refused = try ask(martlet, path, key, method: "DELETE")
    #expect(refused.status == 409 && refused.text.contains(#""needs":"force""#))
    #expect(try ask(martlet, path + "?force=true", key, method: "DELETE").status == 200)
  }

  @Test func `a new weight is used at once, and can be set back to the configured one`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(
      backends: [one, two], pool: #""strategy": "weighted-round-robin""#)
    #expect(try command(martlet, "set-weight", "default/\(one.address)", "3").status == 0)
    var counts: [String: Int] = [:]
    for _ in 0..<8 { counts[try martlet.get().text, default: 0] += 1 }
    #expect(counts == ["one": 6, "two": 2])
    let status = try command(martlet, "status").output
    #expect(status.contains("  3 (configured: 1)  "), "\(status)")
    let back = try command(martlet, "set-weight", "default/\(one.address)", "configured")
    #expect(back.output == "the weight of default/\(one.address) is now 1, as configured\n")
    #expect(try command(martlet, "set-weight", "default/\(one.address)", "0").status == 64)
  }

  @Test func `a backend can be added and removed while it runs`() throws {
    let (one, two) = (try StubBackend("one"), try StubBackend("two"))
    let martlet = try MartletProcess(
      backends: [one], rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#,
      token: "0123456789abcdef")
    let key = "Authorization: Bearer 0123456789abcdef\r\n"
    let added = try ask(
      martlet, "/v1/pools/default/backends", key, method: "POST",
      body: #"{"address": "\#(two.address)"}"#)
    #expect(added.status == 201, "\(added.text)")
    var seen: Set<String> = []
    for _ in 0..<4 { seen.insert(try martlet.get().text) }
    #expect(seen == ["one", "two"])
    let removed = try ask(
      martlet, "/v1/pools/default/backends/\(one.address)", key, method: "DELETE")
    #expect(removed.status == 200, "\(removed.text)")
    for _ in 0..<4 { #expect(try martlet.get().text == "two") }
    let last = try ask(
      martlet, "/v1/pools/default/backends/\(two.address)", key, method: "DELETE")
    #expect(last.status == 409)
    let bad = try ask(
      martlet, "/v1/pools/default/backends", key, method: "POST", body: #"{"address": "x"}"#)
    #expect(bad.status == 400 && bad.text.contains("is not the address of a backend"))
  }

  @Test func `without an answer, the command says what to check`() throws {
    let folder = TemporaryFolder()
    let result = try run([Installation.binary, "status", "--socket", folder.path("none.sock")])
    #expect(result.status == 70)
    #expect(result.errors.contains("none.sock: No such file"), "\(result.errors)")
    #expect(result.errors.contains("is Martlet running"))
    for arguments in [["--cert", "a"], ["--admin", "x", "--socket", "y"], ["--ca", "a"]] {
      #expect(try run([Installation.binary, "status"] + arguments).status == 64)
    }
    let odd = try run([Installation.binary, "status", "--admin", "localhost:9091"])
    #expect(odd.status == 70 && odd.errors.contains("is no address; write one such as https://"))
  }

  @Test func `errors name what doesn't exist`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub])
    let result = try command(martlet, "drain", "default/nobody:1")
    #expect(result.status == 70 && result.errors.contains("no backend nobody:1 in default"))
    #expect(result.errors.contains(stub.address))
    let nowhere = try command(martlet, "drain", "nowhere/x:1")
    #expect(nowhere.errors.contains("no pool nowhere; there are default"))
    let near = try command(martlet, "drain", "defualt/x:1")
    #expect(near.errors.contains("no pool defualt (did you mean default?); there are default"))
  }

  @Test func `a refused reload is reported, and stays in the state`() throws {
    let stub = try StubBackend("still here")
    let martlet = try MartletProcess(
      backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let name = "martlet_config_last_reload_successful"
    #expect(try ask(martlet, "/metrics").text.contains("\n\(name) 1\n"))
    try martlet.folder.write("{", to: "config.json")
    let result = try command(martlet, "reload")
    #expect(result.status == 70, "\(result.errors)")
    let lines = result.errors.split(separator: "\n")
    #expect(lines.first?.hasPrefix("martlet: error: ") == true && lines.count == 2)
    #expect(lines.last?.contains("config.json:1:1: error: ") == true, "\(result.errors)")
    #expect(try martlet.get().text == "still here")
    #expect(try ask(martlet, "/metrics").text.contains("\n\(name) 0\n"))
    #expect(try command(martlet, "status").output.contains("refused   the last reload"))
  }

  // MARK: State

  @Test func `a pool whose requests fail is reported before its health checks notice it`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(backends: [dead], pool: #""health": "off""#)
    func isFailing() throws -> Bool? { try pool(martlet)["failing"] as? Bool }
    #expect(try isFailing() == false)
    try eventually("it is reported") {
      _ = try martlet.get()
      return try isFailing() == true
    }
    #expect(try pool(martlet)["available"] as? Bool == true)
    #expect(try command(martlet, "status").output.contains("ALMOST ALL REQUESTS FAIL"))
    try eventually("it ends with the requests") { try isFailing() == false }
  }

  @Test func `status tells rates, dropped lines and backends without an address`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(backends: [stub, "nowhere.invalid:80"])
    for _ in 0..<4 { _ = try martlet.get() }
    try eventually("the rates have been taken") {
      let status = try command(martlet, "status").output
      return status.contains(#/ATT\/S 10S .*\n.* [0-9.]+/s +[1-9.][0-9.]*/s/#)
    }
    let text = try command(martlet, "status").output
    #expect(
      text.contains(#/requests  4 in total, [0-9.]+/s in the last second, [0-9.]+/s in ten;/#))
    #expect(text.contains("round-robin  http/1.1  1 of 2 up"), "\(text)")
    #expect(text.contains(#/nowhere.invalid:80 +unresolved /#), "\(text)")
    #expect(!text.contains("dropped"))
    let state = try state(martlet)
    #expect((state["totals"] as? [String: Any])?["dropped_log_lines"] as? Int == 0)
  }

  @Test func `answers without an attempt don't count as latency`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [dead], pool: #""health": { "interval": "100ms", "fall": 1 }"#)
    try eventually("it is down") { try backends(martlet)[0]["condition"] as? String == "down" }
    #expect(try martlet.get().status == 503)
    // A sample is taken each second; the third is one after the answer.
    let before = try #require(try state(martlet)["uptime_seconds"] as? Double)
    try eventually("it has been sampled") {
      try #require(try state(martlet)["uptime_seconds"] as? Double) > before + 2
    }
    let pools = try #require(try state(martlet)["pools"] as? [[String: Any]])
    let latency = try #require(pools[0]["latency_ms"] as? [String: Any])
    #expect(latency["p50"] is NSNull, "\(latency)")
  }

  @Test func `tap shows exchanges as they end, if they pass the filter`() throws {
    let stub = try StubBackend { request, wire in
      let status = request.target == "/bad" ? "500 Bad" : "200 OK"
      try wire.send("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n")
      return true
    }
    let martlet = try MartletProcess(backends: [stub])
    let socket = martlet.folder.path("admin.sock")
    let tap = try ChildProcess(
      [Installation.binary, "tap", "--json", "--status", "500", "--socket", socket])
    let readable = try ChildProcess(
      [Installation.binary, "tap", "--status", "500", "--socket", socket])
    // It doesn't show when tapping has started, so send requests until a line appears.
    try eventually("a line is shown") {
      _ = try martlet.get("/good")
      _ = try martlet.get("/bad")
      return tap.outputText.contains("\n") && readable.outputText.contains("\n")
    }
    #expect(tap.outputText.contains(#""target":"/bad""#))
    let line = try #require(readable.outputText.split(separator: "\n").first)
    #expect(line.contains(" GET ") && line.contains(" /bad HTTP/1.1 500 ok 0 "), "\(line)")
    #expect(line.contains("[\(stub.address) ok "), "\(line)")
    for tap in [tap, readable] {
      #expect(!tap.outputText.contains("/good"))
      tap.signal(SIGTERM)
      _ = try tap.waitForExit()
    }
  }

  @Test func `failed exchanges are kept with their attempts`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [dead], pool: #""health": "off""#,
      rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    #expect(try martlet.get("/gone").status == 502)
    let answer = try ask(martlet, "/v1/exchanges")
    #expect(answer.text.contains(#""target":"/gone""#) && answer.text.contains("connect-refused"))
  }

  @Test func `requests without a route don't displace failed exchanges`() throws {
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [dead], pool: #""health": "off""#,
      rest: #"""
        "admin": { "listen": "127.0.0.1:0" },
        "routes": [{ "path": "/app" }]
        """#, flags: ["--workers", "1"])
    #expect(try martlet.get("/app/gone").status == 502)
    let wire = try martlet.wire()
    for number in 0..<100 { #expect(try wire.get("/none\(number)").status == 404) }
    let answer = try ask(martlet, "/v1/exchanges")
    #expect(answer.text.contains(#""target":"/app/gone""#))
    #expect(!answer.text.contains("/none"))
  }

  @Test func `metrics count traffic by listener, route and backend; promtool accepts them`() throws
  {
    let (one, dead) = (try StubBackend("one"), "127.0.0.1:\(try freePort())")
    let martlet = try MartletProcess(
      backends: [one, dead], pool: #""health": "off", "name": "app""#,
      listener: #""name": "front""#, rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    for _ in 0..<4 { #expect(try martlet.get().status == 200) }
    let text = try ask(martlet, "/metrics").text
    for line in [
      #"martlet_listener_responses_total{listener="front",class="2xx"} 4"#,
      #"martlet_route_responses_total{listener="front",route="*/",class="2xx"} 4"#,
      #"martlet_route_duration_seconds_count{listener="front",route="*/"} 4"#,
      #"martlet_route_sent_bytes_total{listener="front",route="*/"} 12"#,
      #"martlet_backend_responses_total{pool="app",backend="\#(one.address)",class="2xx"} 4"#,
      #"martlet_backend_up{pool="app",backend="\#(one.address)"} 1"#,
    ] {
      #expect(text.contains("\n\(line)\n"), "\(line)")
    }
    let failures =
      #"martlet_backend_failures_total{pool="app",backend="\#(dead)",cause="connect-refused"} "#
    let mark = try #require(text.range(of: failures))
    #expect(try #require(text[mark.upperBound...].first?.wholeNumberValue) > 0)
    let check = try run(["promtool", "check", "metrics"], input: text)
    #expect(check.status == 0, "\(check.output)\(check.errors)")
  }

  // MARK: Access

  @Test func `only its own user can open the socket`() throws {
    let martlet = try MartletProcess(backends: [try StubBackend()])
    var status = stat()
    #expect(stat(martlet.folder.path("admin.sock"), &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    #expect(try martlet.terminate() == 0)
    #expect(stat(martlet.folder.path("admin.sock"), &status) != 0)
  }

  @Test func `a socket in use is not replaced`() throws {
    let stub = try StubBackend()
    let first = try MartletProcess(backends: [stub])
    let path = first.folder.path("admin.sock")
    let folder = TemporaryFolder()
    try folder.write(
      MartletProcess.configuration(
        backends: [stub], rest: #""admin": { "socket": "\#(path)" }"#), to: "config.json")
    let named = try MartletProcess.start(["run"], in: folder)
    #expect(try named.waitForExit() == 70)
    #expect(named.errorText.contains("admin.socket: can't listen on \(path)"))
    #expect(try state(first)["state"] as? String == "serving")
  }

  @Test func `an address without a token is read-only, and only for local host names`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    #expect(try ask(martlet, "/v1/state").status == 200)
    let path = "/v1/pools/default/backends/\(stub.address)"
    let change = try ask(martlet, path, method: "PATCH", body: #"{"state": "draining"}"#)
    #expect(change.status == 403)
    let foreign = try Wire(port: martlet.adminPort()).exchange(
      "GET /v1/state HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n")
    #expect(foreign.status == 403)
    #expect(try martlet.get().status == 200)
  }

  @Test func `with a token every request needs it`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0", "token-file": "token" }"#,
      token: "a-secret-of-length")
    #expect(try ask(martlet, "/metrics").status == 401)
    #expect(try ask(martlet, "/v1/state", "Authorization: Bearer wrong\r\n").status == 401)
    // Any number of spaces (RFC 9110 11.4).
    for key in ["Bearer  a-secret-of-length", "bearer    a-secret-of-length"] {
      #expect(try ask(martlet, "/v1/state", "Authorization: \(key)\r\n").status == 200)
    }
    let key = "Authorization: Bearer a-secret-of-length\r\n"
    #expect(try ask(martlet, "/v1/state", key).status == 200)
    let path = "/v1/pools/default/backends/\(stub.address)"
    #expect(
      try ask(martlet, path, key, method: "PATCH", body: #"{"weight": 7}"#).status == 200)
    #expect(try backends(martlet)[0]["weight"] as? Int == 7)
    for body in ["", "[]", "{}", #"{"weight": 0}"#, #"{"state": "up"}"#, #"{"wieght": 1}"#] {
      #expect(try ask(martlet, path, key, method: "PATCH", body: body).status == 400, "\(body)")
    }
  }

  @Test func `after an upgrade the new process answers`() throws {
    let stub = try StubBackend()
    let installed = try Installed()
    let port = try freePort()
    let martlet = try installed.start(
      installed.configuration(
        backends: [stub], rest: #""admin": { "listen": "127.0.0.1:\#(port)" }"#),
      keeping: [stub])
    #expect(try command(martlet, "drain", "--force", "default/\(stub.address)").status == 0)
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(try martlet.process.waitForExit() == 0)
    let asked = try Wire(port: port).exchange(
      "GET /v1/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    #expect(asked.text.contains("\"process\":\(installed.servingProcess),"))
    let state = try state(martlet)
    #expect(state["process"] as? Int == Int(installed.servingProcess))
    #expect(asked.text.contains("\"admin\":\"draining\""))
  }

  @Test func `clients that fill the address don't block the socket`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let idle = try (0..<200).map { _ in try Wire(port: martlet.adminPort()) }
    #expect(try state(martlet)["state"] as? String == "serving")
    withExtendedLifetime(idle) {}
  }

  @Test func `invalid and idle clients don't block it`() throws {
    let martlet = try MartletProcess(
      backends: [try StubBackend()], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    let idle = try (0..<20).map { _ in try Wire(port: martlet.adminPort()) }
    let garbage = try Wire(port: martlet.adminPort()).exchange("\u{1}\u{2}\r\n\r\n")
    #expect(garbage.status == 400)
    #expect(try ask(martlet, "/healthz").text == "ok\n")
    #expect(try ask(martlet, "/nothing").status == 404)
    #expect(try ask(martlet, "/v1/reload").status == 405)
    withExtendedLifetime(idle) {}
  }
}
