// Changes while it runs: reload, and the access log. StopTests has the shutdown.

import Foundation
import Testing

@Suite(.serialized) struct ReloadTests {
  // MARK: Reload

  @Test func `a listener moves from one address to all of them and back on the same port`() throws {
    let stub = try StubBackend("hello")
    let port = try freePort()
    func configuration(_ address: String) -> String {
      """
      { "listeners": [{ "name": "web", "listen": "\(address):\(port)" }],
        "pools": [{ "backends": [\(stub.json)] }] }
      """
    }
    let martlet = try MartletProcess(configuration("127.0.0.1"), keeping: [stub])
    let load = Load(martlet, clients: 2)
    defer { load.stop() }
    func isServed(at address: String) -> Bool {
      (try? run(["curl", "-s", "http://\(address):\(port)/"]))?.output == "hello"
    }
    // The kernel accepts all of 127.0.0.0/8 on this machine.
    #expect(!isServed(at: "127.0.0.2"))
    for _ in 0..<2 {
      try martlet.reload(configuration("*"))
      eventually("it serves at another address") { isServed(at: "127.0.0.2") }
      #expect(isServed(at: "127.0.0.1"))
      try martlet.reload(configuration("127.0.0.1"))
      eventually("it serves at one address") { !isServed(at: "127.0.0.2") }
      #expect(isServed(at: "127.0.0.1"))
    }
    #expect(!martlet.log.contains("can't listen"))
    #expect(load.stop().errors == [])
  }

  @Test func `a reload refuses a port of another process, whatever is open here`()
    throws
  {
    let stub = try StubBackend("hello")
    let port = try freePort()
    func configuration(_ address: String) -> String {
      """
      { "listeners": [{ "name": "web", "listen": "\(address)" }],
        "pools": [{ "backends": [\(stub.json)] }] }
      """
    }
    let martlet = try MartletProcess(configuration("127.0.0.1:\(port)"), keeping: [stub])
    try martlet.reload(configuration("127.0.0.1:\(stub.port)"))
    #expect(martlet.log.contains("can't listen on 127.0.0.1:\(stub.port)"))
    #expect(try Wire(port: port).get().text == "hello")
  }

  @Test func `a reload under load drops no request, and new backends are used`() throws {
    let old = try StubBackend("old")
    let new = try StubBackend("new")
    let martlet = try MartletProcess(backends: [old])
    let kept = try martlet.wire()
    #expect(try kept.get().text == "old")
    let load = Load(martlet)
    let fresh = Load(martlet, clients: 2, keepsAlive: false)
    defer {
      load.stop()
      fresh.stop()
    }
    for round in 0..<6 {
      try martlet.reload(MartletProcess.configuration(backends: [round % 2 == 0 ? new : old]))
      let name = round % 2 == 0 ? "new" : "old"
      eventually("the new configuration serves") { load.nextAnswers(50).keys.contains(name) }
    }
    #expect(try kept.get().text == "old")
    #expect(load.stop().errors == [])
    #expect(fresh.stop().errors == [])
    #expect(martlet.log.components(separatedBy: "is in force").count == 7)
  }

  @Test func `an exchange under way ends under the configuration that it began with`() throws {
    let folder = TemporaryFolder()
    let old = try StubBackend.halving(until: folder.path("go"))
    let new = try StubBackend("new")
    let martlet = try MartletProcess(backends: [old])
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try wire.takeHead()
    try martlet.reload(MartletProcess.configuration(backends: [new]))
    #expect(try martlet.get().text == "new")
    try folder.write("", to: "go")
    #expect(try wire.take(10) == Array("firstother".utf8))
    #expect(try wire.get().text == "new")
  }

  @Test func `an answer gets the fields of its request's configuration`() throws {
    let folder = TemporaryFolder()
    let stub = try StubBackend { request, wire in
      if request.target == "/slow" {
        _ = poll { FileManager.default.fileExists(atPath: folder.path("go")) }
      }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      return true
    }
    func configuration(_ via: Bool) -> String {
      MartletProcess.configuration(backends: [stub], rest: #""via": \#(via)"#)
    }
    let martlet = try MartletProcess(configuration(true), keeping: [stub])
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually("it has reached the backend") { stub.requests.count == 1 }
    try martlet.reload(configuration(false))
    // The log reports the reload before the workers apply it.
    try eventually("the new one is in force") { try martlet.get()["Via"] == nil }
    try folder.write("", to: "go")
    #expect(try wire.takeResponse()["Via"] != nil)
    #expect(try wire.get()["Via"] == nil)
  }

  @Test(arguments: [
    #"{ "pools": [ }"#,
    #"{ "pools": [{ "backends": ["127.0.0.1:1"], "stategy": "random" }] }"#,
    #"""
    { "listeners": [{ "listen": "127.0.0.1:0",
        "tls": { "certificates": [{ "chain": "none.crt", "key": "none.key" }] } }],
      "pools": [{ "backends": ["127.0.0.1:1"] }] }
    """#,
  ])
  func `an invalid file is refused with the reason, and the old one stays in force`(
    _ broken: String
  ) throws {
    let stub = try StubBackend("old")
    let martlet = try MartletProcess(backends: [stub])
    let wire = try martlet.wire()
    #expect(try wire.get().text == "old")
    try martlet.reload(broken)
    #expect(martlet.log.contains("the new configuration is refused; the old one stays in force"))
    #expect(martlet.log.contains("config.json:1:") || martlet.log.contains("none.crt does not"))
    #expect(try wire.get().text == "old")
    #expect(try martlet.get().text == "old")
    try martlet.reload(MartletProcess.configuration(backends: [stub]))
    #expect(martlet.log.contains("the new configuration is in force"))
  }

  @Test func `a file that is refused opens nothing and closes nothing`() throws {
    let stub = try StubBackend("old")
    let kept = try freePort()
    let added = try freePort()
    func configuration(_ listener: String) -> String {
      """
      { "listeners": [{ "listen": \(listener) }], "pools": [{ "backends": [\(stub.json)] }] }
      """
    }
    let martlet = try MartletProcess(configuration("\"127.0.0.1:\(kept)\""), keeping: [stub])
    // Only the certificate is wrong, which is checked last.
    let tls = #""tls": { "certificates": [{ "chain": "none.crt", "key": "none.key" }] }"#
    try martlet.reload(configuration("\"127.0.0.1:\(added)\", \(tls)"))
    #expect(martlet.log.contains("the new configuration is refused"))
    #expect((try? Wire(port: added)) == nil)
    #expect(try martlet.get().text == "old")
    try martlet.reload(configuration("\"127.0.0.1:\(added)\""))
    try eventually("the new one serves") { try Wire(port: added).get().text == "old" }
    eventually("the old one is closed") { (try? Wire(port: kept)) == nil }
  }

  @Test func `a listener that is added serves, and one that is removed is closed`() throws {
    let stub = try StubBackend("hello")
    let added = try freePort()
    func configuration(_ listeners: [String]) -> String {
      """
      { "listeners": [\(listeners.map { #"{ "listen": "\#($0)" }"# }.joined(separator: ", "))],
        "pools": [{ "backends": [\(stub.json)] }], "log": { "target": "access.log" } }
      """
    }
    let martlet = try MartletProcess(configuration(["127.0.0.1:0"]), keeping: [stub])
    try martlet.reload(configuration(["127.0.0.1:0", "127.0.0.1:\(added)"]))
    // The sockets reach the workers through their inboxes.
    try eventually("the new one serves") { try Wire(port: added).get().text == "hello" }
    #expect(try martlet.get().text == "hello")
    let kept = try Wire(port: added)
    #expect(try kept.get().text == "hello")
    let idle = try Wire(port: added)
    #expect(try idle.get().text == "hello")
    try martlet.reload(configuration(["127.0.0.1:0"]))
    eventually("the old one is closed") { (try? Wire(port: added)) == nil }
    #expect(try martlet.get().text == "hello")
    // No configuration is left for the clients that are still connected.
    let last = try kept.get()
    #expect(last.status == 421)
    #expect(last["Connection"] == "close")
    #expect(kept.endsQuietly())
    #expect(idle.endsQuietly())
    #expect(try martlet.get().text == "hello")
  }

  @Test func `a new backlog counts for a socket that is open already`() throws {
    let stub = try StubBackend()
    func configuration(_ backlog: Int) -> String {
      MartletProcess.configuration(backends: [stub], listener: "\"backlog\": \(backlog)")
    }
    let martlet = try MartletProcess(configuration(7), keeping: [stub])
    func backlogs() throws -> Set<Substring> {
      let lines = try run(["ss", "-Hltn", "sport", "=", ":\(martlet.port)"]).output
      return Set(lines.split(separator: "\n").map { $0.split(separator: " ")[2] })
    }
    #expect(try backlogs() == ["7"])
    try martlet.reload(configuration(9))
    #expect(try backlogs() == ["9"])
  }

  @Test func `a listener's TLS is changed by a reload`() throws {
    let certificates = try Certificates()
    func configuration(_ tls: String?, _ rest: String = "") -> String {
      let keys = tls.map { #", "tls": { "certificates": [\#(certificates.entry())]\#($0) }"# } ?? ""
      return MartletProcess.configuration(
        backends: ["127.0.0.1:1"], listener: #""name": "web"\#(keys)\#(rest)"#)
    }
    let martlet = try MartletProcess(configuration(nil))
    func client(_ arguments: String...) throws -> String {
      let result = try run(
        ["openssl", "s_client", "-connect", "127.0.0.1:\(martlet.port)"] + arguments,
        input: "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      return result.output + result.errors
    }
    func reload(_ tls: String?, _ rest: String = "") throws {
      try martlet.reload(configuration(tls, rest))
    }
    #expect(try martlet.get().status == 502 || martlet.get().status == 503)
    try reload("")
    try eventually("TLS 1.2 is spoken") { try client("-tls1_2").contains("New, TLSv1.2") }
    try reload(#", "minimum-version": "1.3""#)
    try eventually("TLS 1.2 is spoken no more") { try !client("-tls1_2").contains("New, TLSv1.2") }
    try reload("")
    try eventually("it is again") { try client("-tls1_2").contains("New, TLSv1.2") }
    try reload(#", "policy": "modern""#)
    try eventually("nor is it by policy") { try !client("-tls1_2").contains("New, TLSv1.2") }
    try reload("")
    try eventually("there are tickets") { try client("-tls1_2").contains("session ticket:") }
    try reload(#", "tickets": "off""#)
    try eventually("there are none") {
      let said = try client("-tls1_2")
      return said.contains("New, TLSv1.2") && !said.contains("session ticket:")
    }
    func policy() throws -> String? {
      try client("-quiet").split(separator: "\r\n")
        .first { $0.hasPrefix("Strict-Transport-Security") }.map(String.init)
    }
    try reload("", #", "hsts": { "max-age": "10s" }"#)
    try eventually("HSTS") { try policy() == "Strict-Transport-Security: max-age=10" }
    try reload("", #", "hsts": { "max-age": "20s", "include-subdomains": true }"#)
    try eventually("another HSTS") {
      try policy() == "Strict-Transport-Security: max-age=20; includeSubDomains"
    }
    try reload(nil)
    eventually("it is plain again") { (try? martlet.get()) != nil }
  }

  @Test func `a reload keeps the state of backends`() throws {
    let stub = try StubBackend("up")
    let dead = "127.0.0.1:\(try freePort())"
    let pool = #""health": { "interval": "100ms", "fast-interval": "100ms", "fall": 1 }"#
    let configuration = MartletProcess.configuration(backends: [dead, stub], pool: pool)
    let martlet = try MartletProcess(configuration, keeping: [stub])
    eventually("it is down") { martlet.log.contains("backend down") }
    try martlet.reload(configuration)
    let before = try martlet.accessLines().count
    for _ in 0..<4 { #expect(try martlet.get().text == "up") }
    for line in try martlet.accessLines(atLeast: before + 4).dropFirst(before) {
      #expect((line["attempts"] as? [Any])?.count == 1)
    }
  }

  @Test func `a reload that changes nothing says so`() throws {
    let martlet = try MartletProcess(backends: [try StubBackend()])
    let socket = martlet.folder.path("admin.sock")
    func reload() throws -> String {
      try run([Installation.binary, "reload", "--socket", socket]).output
    }
    #expect(try reload() == "nothing has changed\n")
    #expect(martlet.log.contains("nothing has changed: the same configuration is in force"))
    try martlet.folder.write(
      martlet.folder.read("config.json").replacing(/}\s*$/, with: #", "via": false }"#),
      to: "config.json")
    let result = try reload()
    #expect(result == "the new configuration is in force\n", "\(martlet.log)")
  }

  // MARK: The access log

  @Test func `each exchange is one line of JSON with every attempt`() throws {
    let stub = try StubBackend("hello")
    let dead = "127.0.0.1:\(try freePort())"
    let martlet = try MartletProcess(
      backends: [dead, stub], pool: #""health": "off", "ejection": "off""#)
    _ = try martlet.get(
      "/first?a=\"b\\c", "User-Agent: \"x\r\nReferer: http://a/\r\n")
    // Another worker's line could come first.
    _ = try martlet.accessLines(atLeast: 1)
    _ = try martlet.get("/%0a\u{e9}")
    _ = try martlet.get("/")
    let lines = try martlet.accessLines(atLeast: 3)
    #expect(lines.count == 3)
    #expect(lines[0]["method"] as? String == "GET")
    #expect(lines[0]["host"] as? String == "localhost")
    #expect(lines[0]["user_agent"] as? String == "\"x")
    #expect(lines[0]["referer"] as? String == "http://a/")
    #expect(lines[0]["client"] as? String == "127.0.0.1")
    #expect((lines[0]["time"] as? String)?.hasSuffix("Z") == true)
    var served = 0
    for line in lines {
      guard let attempts = line["attempts"] as? [[String: Any]] else { continue }
      guard line["status"] as? Int == 200 else { continue }
      served += 1
      #expect(line["sent"] as? Int == 5)
      #expect(attempts.last?["backend"] as? String == stub.address)
      #expect(attempts.last?["result"] as? String == "ok")
      if attempts.count == 2 {
        #expect(attempts[0]["backend"] as? String == dead)
        #expect(attempts[0]["result"] as? String == "connect-refused")
      }
    }
    #expect(served >= 1)
    #expect(lines.contains { ($0["attempts"] as? [Any])?.count == 2 })
  }

  @Test func `under load there is one line for each answer`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    let load = Load(martlet)
    _ = load.nextAnswers(1000)
    let count = load.stop().total
    #expect(try martlet.terminate() == 0)
    let lines = try martlet.accessLines()
    #expect(lines.count >= count)
    #expect(lines.allSatisfy { $0["status"] as? Int == 200 })
  }

  @Test func `SIGUSR1 reopens the access log`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(backends: [stub])
    _ = try martlet.get("/before")
    _ = try martlet.accessLines(atLeast: 1)
    try FileManager.default.moveItem(
      atPath: martlet.folder.path("access.log"), toPath: martlet.folder.path("access.log.1"))
    martlet.signal(SIGUSR1)
    eventually("there is a new file") {
      FileManager.default.fileExists(atPath: martlet.folder.path("access.log"))
    }
    _ = try martlet.get("/after")
    let lines = try martlet.accessLines(atLeast: 1)
    #expect(lines.map { $0["target"] as? String } == ["/after"])
    #expect(martlet.folder.read("access.log.1").contains("/before"))
  }

  @Test func `a full disk of the access log doesn't stop the service`() throws {
    let stub = try StubBackend("hello")
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
        "log": { "target": "/dev/full" } }
      """, keeping: [stub])
    let wire = try martlet.wire()
    for _ in 0..<200 { #expect(try wire.get().text == "hello") }
    eventually("it says so, once") { martlet.log.contains("the access log can't be written") }
    #expect(martlet.log.components(separatedBy: "can't be written").count == 2)
    #expect(try martlet.terminate() == 0)
  }

  @Test func `a standard output without a reader doesn't stop the service`() throws {
    let stub = try StubBackend("hello")
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }] }
      """, to: "config.json")
    // `true` ends at once, and leaves a pipe without a reader.
    let shell = try ChildProcess(
      [
        "bash", "-c",
        "exec \(Installation.binary) run > >(true)",
      ], in: folder.path)
    eventually("it listens") { shell.errorText.contains("try: curl") }
    let port = try #require(
      shell.errorText.components(separatedBy: "try: curl http://127.0.0.1:").last?
        .split(separator: "/").first.flatMap { Int($0) })
    for _ in 0..<50 { #expect(try Wire(port: port).get().text == "hello") }
    shell.signal(SIGTERM)
    #expect(try shell.waitForExit() == 0)
    #expect(stub.requests.count == 50)
  }
}
