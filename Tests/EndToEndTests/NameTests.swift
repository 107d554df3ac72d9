// Backends with names, while name servers don't answer, are wrong, or answer again.

import Foundation
import Testing

@Suite(.serialized) struct NameTests {
  private let resolver: StubResolver
  private let plain: StubBackend

  init() throws {
    resolver = try StubResolver()
    plain = try StubBackend("plain")
  }

  /// A pool with an IP address, and one with a name for each of `names`.
  private func configuration(_ names: String..., rest: String = "") -> String {
    configuration(names, rest: rest)
  }

  private func configuration(_ names: [String], rest: String = "") -> String {
    let port = plain.port
    let named = names.map { "\"\($0):\(port)\"" }.joined(separator: ", ")
    return """
      {
        "listeners": [{ "listen": "127.0.0.1:0" }],
        "pools": [
          { "name": "plain", "backends": ["\(plain.address)"] },
          { "name": "named", "backends": [\(named)], "resolve-interval": "1s",
            "retry": { "max-attempts": 1 } }
        ],
        "routes": [{ "forward": "plain" }, { "path": "/named", "forward": "named" }],
        "log": { "target": "access.log" }\(rest.isEmpty ? "" : ", " + rest)
      }
      """
  }

  private func start(_ configuration: String) throws -> MartletProcess {
    try MartletProcess(configuration, environment: resolver.environment, keeping: [plain])
  }

  private func command(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    let child = try MartletProcess.start(
      arguments, in: martlet.folder, environment: resolver.environment)
    let status = try child.waitForExit()
    return CommandResult(status: status, output: child.outputText, errors: child.errorText)
  }

  private func isServed(_ martlet: MartletProcess) -> Bool {
    (try? martlet.get("/named").status) == 200
  }

  @Test func `a name server that doesn't answer delays neither the start nor other pools`() throws {
    let martlet = try start(configuration("one.test", "two.test"))
    #expect(try martlet.get().text == "plain")
    #expect(try martlet.get("/named").status == 503)
    // In parallel, not one after the other.
    eventually("both are looked up") {
      resolver.count("one.test") == 1 && resolver.count("two.test") == 1
    }
    try resolver.answer("two.test", "127.0.0.1")
    eventually("what has an address serves") { isServed(martlet) }
    #expect(resolver.count("one.test") == 1)
  }

  @Test func `a name server that doesn't answer delays no signal`() throws {
    let martlet = try start(configuration("one.test"))
    #expect(try martlet.terminate() == 0)
  }

  @Test func `SIGTERM during the start ends it`() throws {
    let folder = TemporaryFolder()
    try folder.write(configuration("one.test"), to: "config.json")
    let child = try MartletProcess.start(
      ["run"], in: folder, environment: resolver.environment)
    eventually("it is looking up") { resolver.count("one.test") == 1 }
    child.signal(SIGTERM)
    #expect(try child.waitForExit() == 0)
  }

  @Test func `a reload uses the last addresses while a name server doesn't answer`() throws {
    try resolver.answer("one.test", "127.0.0.1")
    let martlet = try start(configuration("one.test"))
    #expect(isServed(martlet))
    resolver.silence("one.test")
    let before = resolver.count("one.test")
    eventually("it is looked up again") { resolver.count("one.test") > before }
    try martlet.folder.write(configuration("one.test", "two.test"), to: "config.json")
    let reload = try command(martlet, "reload")
    #expect(reload.status == 0, "\(reload.errors)")
    #expect(isServed(martlet))
    // The change of the new name is also noticed.
    try resolver.answer("two.test", "127.0.0.2")
    try eventually("it is there") {
      try command(martlet, "status").output.contains("127.0.0.2:\(plain.port)")
    }
  }

  @Test func `a hundred names that aren't answered keep no other name waiting`() throws {
    try resolver.answer("z.test", "127.0.0.1")
    let names = (0..<100).map { "a\($0).test" } + ["z.test"]
    let martlet = try start(configuration(names))
    eventually("the one that is answered serves") { isServed(martlet) }
  }

  @Test func `a shorter resolve-interval counts at once`() throws {
    try resolver.answer("one.test", "127.0.0.1")
    let text = configuration("one.test")
    let martlet = try start(
      text.replacingOccurrences(
        of: #""resolve-interval": "1s""#, with: #""resolve-interval": "1d""#))
    #expect(isServed(martlet))
    let before = resolver.count("one.test")
    try martlet.reload(text)
    eventually("it is looked up again") { resolver.count("one.test") > before }
  }

  @Test func `names that share an address are one backend`() throws {
    try resolver.answer("one.test", "127.0.0.1")
    try resolver.answer("two.test", "127.0.0.1")
    let martlet = try start(
      configuration("one.test", "two.test", rest: #""admin": { "listen": "127.0.0.1:0" }"#))
    #expect(isServed(martlet))
    let page = try run(
      ["curl", "-s", "http://127.0.0.1:\(try martlet.adminPort())/metrics"]).output
    let series = page.split(separator: "\n").filter { !$0.hasPrefix("#") }
      .compactMap { $0.split(separator: " ").first }
    #expect(Set(series).count == series.count)
    #expect(page.contains(#"martlet_pool_backends{pool="named",condition="up"} 1"#))
    // Each one counts again when it has its own address.
    try resolver.answer("two.test", "127.0.0.2")
    try eventually("there are two") {
      try command(martlet, "status").output.contains("127.0.0.2:\(plain.port)")
    }
  }

  @Test func `a backend given by name is removed by that name, with all its addresses`() throws {
    try resolver.answer("one.test", "127.0.0.1")
    try resolver.answer("two.test", "127.0.0.2")
    let martlet = try start(configuration("one.test", "two.test"))
    func remove(_ backend: String) throws -> String {
      try run([
        "curl", "-s", "-X", "DELETE", "--unix-socket", martlet.folder.path("admin.sock"),
        "http://localhost/v1/pools/named/backends/\(backend):\(plain.port)?force=true",
      ]).output
    }
    #expect(try remove("127.0.0.2").contains("is an address of two.test:\(plain.port)"))
    #expect(try remove("other.test").contains("there are one.test:\(plain.port), two.test"))
    #expect(try remove("two.test").contains(#""removed":"two.test:\#(plain.port)""#))
    let status = try command(martlet, "status").output
    #expect(status.contains("127.0.0.1:\(plain.port)"), "\(status)")
    #expect(!status.contains("127.0.0.2"), "\(status)")
  }

  @Test func `an upgrade passes the last addresses on`() throws {
    let installed = try Installed()
    try resolver.answer("one.test", "127.0.0.1")
    let text = configuration("one.test", rest: #""process": { "pid-file": "pid" }"#)
    let martlet = try installed.start(
      text, environment: resolver.environment, keeping: [plain])
    #expect(isServed(martlet))
    resolver.silence("one.test")
    try installed.upgrade()
    eventually("the old one has ended") { !martlet.process.isRunning }
    #expect(try Wire(port: martlet.port).get("/named").status == 200)
  }

  @Test func `a backend that can't be resolved is shown everywhere, with the reason`() throws {
    try resolver.fail("one.test")
    let martlet = try start(
      configuration("one.test", rest: #""admin": { "listen": "127.0.0.1:0" }"#))
    let name = "one.test:\(plain.port)"
    let reason = "Temporary failure in name resolution"
    #expect(martlet.log.contains(#"name=one.test"#) && martlet.log.contains(reason))
    let status = try command(martlet, "status").output
    #expect(status.contains(#/one\.test:\d+ +unresolved .*Temporary failure/#), "\(status)")
    let state = try command(martlet, "status", "--json").output
    #expect(state.contains(#""address":"\#(name)","condition":"unresolved","reason":"\#(reason)""#))
    let metrics = try run(
      ["curl", "-s", "http://127.0.0.1:\(try martlet.adminPort())/metrics"]).output
    #expect(metrics.contains(#"martlet_pool_backends{pool="named",condition="unresolved"} 1"#))
    #expect(metrics.contains(#"martlet_name_lookup_failing{pool="named",name="one.test"} 1"#))
    let explained = try command(
      martlet, "explain", "GET", "http://127.0.0.1:\(martlet.port)/named").output
    #expect(explained.contains("unresolved: \(reason)"), "\(explained)")
    let check = try command(martlet, "check")
    #expect(check.status == 0)
    #expect(
      check.errors.contains(
        #/config\.json:5:\d+: warning: pools\[1\]\.backends\[0\]: one\.test:\d+ can't be/#),
      "\(check.errors)")

    // Logged once, and again when it ends.
    try resolver.answer("one.test", "127.0.0.1")
    eventually("it serves") { isServed(martlet) }
    #expect(martlet.log.components(separatedBy: reason).count == 2)
    #expect(martlet.log.contains("the lookup of a backend's name succeeds again name=one.test"))
    #expect(try !command(martlet, "status").output.contains("unresolved"))
    // Its addresses are kept, and the failed lookup is still logged.
    try resolver.fail("one.test")
    try eventually("status says so") {
      try command(martlet, "status").output.contains("one.test can't be looked up, and its last")
    }
    #expect(isServed(martlet))
  }
}
