// The command line: its output and exit status.

import Foundation
import Testing

@Suite(.serialized) struct CommandLineTests {
  private let folder = TemporaryFolder()

  private func martlet(_ arguments: String...) throws -> CommandResult {
    let child = try MartletProcess.start(arguments, in: folder)
    let status = try child.waitForExit()
    return CommandResult(status: status, output: child.outputText, errors: child.errorText)
  }

  @Test func `check reports all errors at once, with line, column and what is allowed`() throws {
    try folder.write(
      """
      {
        "listeners": [{ "listen": "127.0.0.1:99999" }],
        "pools": [{
          "backends": ["127.0.0.1:1"],
          "strategy": "round-robbin",
          "health": { "intervall": "5s", "rise": 0 }
        }],
        "limits": { "head": "10" }
      }
      """, to: "broken.json")
    let result = try martlet("check", "broken.json")
    #expect(result.status == 1)
    for place in [":2:", ":5:", ":6:", ":8:"] {
      #expect(result.errors.contains("broken.json\(place)"), "\(result.errors)")
    }
    #expect(result.errors.contains("broken.json:5:17: error: pools[0].strategy:"))
    #expect(result.errors.contains("did you mean \"round-robin\"?"))
    #expect(result.errors.contains("intervall"))
    #expect(result.errors.contains("the configuration has 5 errors"))
    #expect(result.output.isEmpty)
  }

  @Test(arguments: ["", "{", "[]", "null", #"{ "pools": [] } x"#, #"{ "pools": "x" }"#, "\u{0}"])
  func `a file that isn't a configuration is refused`(_ text: String) throws {
    try folder.write(text, to: "broken.json")
    let result = try martlet("check", "broken.json")
    #expect(result.status == 1)
    #expect(result.errors.contains("broken.json"), "\(result.errors)")
    #expect(result.errors.contains("error"))
  }

  @Test func `an error names a file that doesn't exist`() throws {
    for arguments in [["check", "none.json"], ["run", "--config", "none.json"]] {
      let child = try MartletProcess.start(arguments, in: folder)
      #expect(try child.waitForExit() == 1)
      #expect(child.errorText.contains("none.json: "), "\(child.errorText)")
      #expect(child.errorText.contains("the file can't be read: No such file"))
    }
  }

  @Test func `diff prints what a reload would change, wherever the new file is`() throws {
    try folder.write(
      #"{ "pools": [{ "backends": ["a:1", "b:1"] }], "log": { "target": "x.log" } }"#,
      to: "old.json")
    let other = TemporaryFolder()
    let new = try other.write(
      #"{ "pools": [{ "backends": ["a:1"] }], "log": { "target": "x.log" }, "workers": 3 }"#,
      to: "new.json")
    let result = try martlet("diff", "old.json", new)
    #expect(result.status == 0)
    #expect(
      result.output == """
        - pools[default].backends[b:1]: { "address": "b:1" }
        ~ workers: not set -> 3  (takes effect after an upgrade or a restart)

        """)
    let json = try martlet("diff", "--json", "old.json", new).output
    let list = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [[String: Any]]
    #expect(list?.map { $0["change"] as? String } == ["removed", "changed"])
    #expect(try martlet("diff", new, new).output == "no differences\n")
    try folder.write(#"{ "pols": [] }"#, to: "broken.json")
    let broken = try martlet("diff", "old.json", "broken.json")
    #expect(broken.status == 1 && broken.errors.contains("broken.json:1:3: error: pols:"))
    #expect(broken.output.isEmpty)
  }

  @Test func `check shows what would run, and binds nothing`() throws {
    let taken = try Listening()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:\(taken.port)" }],
        "pools": [{ "backends": ["127.0.0.1:9001"] }] }
      """, to: "config.json")
    let result = try martlet("check")
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.output.hasPrefix("config.json: ok\n"))
    #expect(result.output.contains("127.0.0.1:9001"))
    withExtendedLifetime(taken) {}
  }

  @Test func `the committed configuration passes with development certificates`() throws {
    let certificates = try Certificates()
    try FileManager.default.copyItem(
      atPath: Installation.root + "/config.json", toPath: folder.path("config.json"))
    try FileManager.default.copyItem(
      atPath: certificates.folder.path, toPath: folder.path("certs"))
    let result = try martlet("check")
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test func `version and help are printed`() throws {
    let version = try martlet("--version")
    #expect(version.status == 0)
    #expect(version.output.wholeMatch(of: /[0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
    let help = try martlet("--help")
    #expect(help.status == 0)
    for word in ["USAGE", "run", "check", "backend", "reference", "EXIT STATUS"] {
      #expect(help.output.contains(word))
    }
    #expect(try martlet("run", "--help").output.contains("--plain-http"))
  }

  @Test func `a wrong command line exits with status 64`() throws {
    let result = try martlet("run", "--nonsense")
    #expect(result.status == 64)
    #expect(result.errors.contains("--nonsense"))
  }

  @Test func `a mistyped command, value or backend gets the expected form`() throws {
    for (arguments, wanted) in [
      (["statsu"], "there is no command 'statsu'; did you mean 'status'?"),
      (["log-level", "warn"], "Did you mean 'warning'?"),
      (["drain", "app"], "write pool/backend, such as app/10.0.0.11:8080"),
      (["run", "--startegy", "random"], "Did you mean '--strategy'?"),
      (["help", "drian"], "there is no command 'drian'; did you mean 'drain'?"),
      (["top", "--count", "0"], "--count: 0 is too small; write 1 or more"),
      (["tap", "--status", "5xx"], "write one such as 500"),
    ] {
      let child = try MartletProcess.start(arguments, in: folder)
      #expect(try child.waitForExit() == 64)
      #expect(child.errorText.contains(wanted), "\(child.errorText)")
      #expect(child.errorText.hasPrefix("martlet: error: "), "\(child.errorText)")
    }
  }

  @Test func `a command whose configuration file can't be used fails`() throws {
    let missing = try martlet("status", "--config", "none.json")
    #expect(missing.status == 1)
    #expect(missing.errors.contains("none.json: error: the file can't be read"))
    try folder.write("{", to: "broken.json")
    let broken = try martlet("status", "-c", "broken.json")
    #expect(broken.status == 1 && broken.errors.contains("broken.json:1:"), "\(broken.errors)")
    #expect(try martlet("check", "-c", "broken.json").status == 1)
  }

  @Test func `no line of a help text is wrapped within an example`() throws {
    let commands = try martlet("--help").output.components(separatedBy: "SUBCOMMANDS:")
    let names = try #require(commands.last).split(separator: "\n").compactMap { line in
      line.hasPrefix("  ") && !line.hasPrefix("   ")
        ? line.split(separator: " ").first.map(String.init) : nil
    }
    #expect(names.count > 12)
    for name in names {
      let lines = try martlet(name, "--help").output.split(
        separator: "\n", omittingEmptySubsequences: false)
      guard let start = lines.firstIndex(of: "EXAMPLES") else { continue }
      let examples = lines[(start + 1)...].prefix { !$0.isEmpty }
      let isContinued = examples.dropLast().filter { $0.hasSuffix("\\") }.count
      let commands = examples.filter { $0.contains(#/^  (martlet|curl|git) /#) }
      #expect(commands.count + isContinued == examples.count, "\(name): \(examples)")
    }
  }

  @Test func `a wrong flag is an error of the configuration, by name`() throws {
    let result = try martlet("run", "--backend", "127.0.0.1:1", "--strategy", "nonsense")
    #expect(result.status == 1)
    #expect(result.errors.contains(" error --strategy: \"nonsense\" is not a strategy"))
    let near = try martlet("run", "--backend", "127.0.0.1:1", "--strategy", "lest-conn")
    #expect(near.errors.contains("(did you mean \"least-connections\"?)"), "\(near.errors)")
    let port = try martlet("run", "--backend", "127.0.0.1:99999", "--plain-http")
    #expect(port.errors.contains(" error --backend: the port 99999 is larger than 65535"))
  }

  @Test func `without certificates the error says how to get some`() throws {
    let result = try martlet("run", "--backend", "127.0.0.1:1", "--listen", "127.0.0.1:0")
    #expect(result.status == 70)
    for option in ["--certificate", "--plain-http", "scripts/make-certs"] {
      #expect(result.errors.contains(option), "\(result.errors)")
    }
  }

  @Test func `a second instance on the same port fails by name`() throws {
    let stub = try StubBackend("first")
    let first = try MartletProcess(backends: [stub])
    let second = try martlet(
      "run", "--plain-http", "--listen", "127.0.0.1:\(first.port)", "--backend", stub.address)
    #expect(second.status == 70)
    #expect(second.errors.contains("can't listen on 127.0.0.1:\(first.port)"), "\(second.errors)")
    #expect(second.errors.contains("`ss -ltnp` shows which process uses it"))
    let admin = try MartletProcess(
      backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0" }"#)
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["\(stub.address)"] }],
        "admin": { "socket": "off", "listen": "127.0.0.1:\(try admin.adminPort())" } }
      """, to: "taken.json")
    let third = try martlet("run", "--config", "taken.json")
    #expect(third.errors.contains("admin.listen: can't listen on"), "\(third.errors)")
    #expect(third.errors.contains("`ss -ltnp` shows which process uses it"), "\(third.errors)")
    #expect(try first.get().text == "first")
  }

  @Test func `flags alone are enough, with demo backends in the same process`() throws {
    let ports = try (0..<2).map { _ in try freePort() }
    let demo = try MartletProcess.start(
      [
        "run", "--plain-http", "--listen", "127.0.0.1:0", "--demo",
        "--backend", "127.0.0.1:\(ports[0])", "--backend", "127.0.0.1:\(ports[1]),weight=3",
        "--strategy", "weighted-round-robin", "--workers", "2",
      ], in: folder)
    eventually("it listens") { demo.errorText.contains("try: curl") || !demo.isRunning }
    let line = try #require(
      demo.errorText.split(separator: "\n").first {
        $0.contains("listening url=http://") && !$0.contains(":\(ports[0])/")
          && !$0.contains(":\(ports[1])/")
      }, "\(demo.errorText)")
    let port = try #require(
      line.components(separatedBy: "/ listener").first?.split(separator: ":").last
        .flatMap { Int($0) })
    let answers = try (0..<8).map { _ in try Wire(port: port).get().text }
    #expect(Set(answers).count == 2)
    #expect(Set(answers.map { text in answers.count { $0 == text } }) == [2, 6])
    #expect(answers.allSatisfy { $0.hasPrefix("Hello from ") })
    let state = try martlet("status", "--json").output
    #expect(state.contains(#""requests":8,"#) && !state.contains(#""name":"backend-1""#))
    demo.signal(SIGTERM)
    #expect(try demo.waitForExit() == 0)
    #expect(demo.outputText.split(separator: "\n").count == 8, "\(demo.outputText)")
    #expect(!demo.outputText.contains(#""listener":"backend-"#))
  }

  @Test func `the line to try works in another directory, with the authority of the certificate`()
    throws
  {
    let certificates = try Certificates()
    let site = TemporaryFolder()
    let certs = site.path("it's here")
    try FileManager.default.copyItem(atPath: certificates.folder.path, toPath: certs)
    let port = try freePort()
    try site.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "tls": { "certificates":
          [{ "chain": "it's here/server.crt", "key": "it's here/server.key" }] } }],
        "pools": [{ "backends": ["127.0.0.1:\(port)"] }], "admin": { "socket": "off" } }
      """, to: "config.json")
    let demo = try MartletProcess.start(
      ["run", "--demo", "--config", site.path("config.json")], in: folder)
    eventually("it listens") { demo.errorText.contains("try: curl") || !demo.isRunning }
    let line = try #require(
      demo.errorText.split(separator: "\n").first { $0.contains("try: curl") },
      "\(demo.errorText)")
    let command = try #require(line.components(separatedBy: "try: ").last)
    let answer = try run(["sh", "-c", command], in: "/")
    #expect(answer.output == "Hello from backend-1\n", "\(line): \(answer.errors)")
    demo.signal(SIGTERM)
    #expect(try demo.waitForExit() == 0)
  }

  @Test func `the line to try trusts a self-signed certificate`() throws {
    let made = try run(
      [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", "/CN=www.example.com", "-addext",
        "subjectAltName=DNS:www.example.com", "-keyout", "own.key", "-out", "own.crt",
      ], in: folder.path)
    #expect(made.status == 0, "\(made.errors)")
    let demo = try MartletProcess.start(
      [
        "run", "--demo", "--listen", "127.0.0.1:0", "--certificate", "own.crt", "--key", "own.key",
        "--backend", "127.0.0.1:\(try freePort())",
      ], in: folder)
    eventually("it listens") { demo.errorText.contains("try: curl") || !demo.isRunning }
    let line = demo.errorText.split(separator: "\n").first { $0.contains("try: curl") }
    let command = try #require(line?.components(separatedBy: "try: ").last, "\(demo.errorText)")
    let answer = try run(["sh", "-c", command], in: "/")
    #expect(answer.output == "Hello from backend-1\n", "\(command): \(answer.errors)")
    demo.signal(SIGTERM)
    #expect(try demo.waitForExit() == 0)
  }

  @Test func `the backend command runs a server that responds with its name`() throws {
    let port = try freePort()
    let backend = try MartletProcess.start(
      ["backend", "--name", "one", "--listen", "127.0.0.1:\(port)"], in: folder)
    try eventually("it answers") {
      guard let wire = try? Wire(port: port) else { return false }
      return try wire.get().text.contains("Hello from one")
    }
    backend.signal(SIGINT)
    #expect(try backend.waitForExit() == 0)
  }

  @Test func `the reference in docs is what the binary prints`() throws {
    for (arguments, file) in [
      (["reference"], "docs/CONFIGURATION.md"),
      (["reference", "--schema"], "docs/config.schema.json"),
    ] {
      let child = try MartletProcess.start(arguments, in: folder)
      #expect(try child.waitForExit() == 0)
      let text = try String(contentsOfFile: "\(Installation.root)/\(file)", encoding: .utf8)
      #expect(child.outputText == text, "generate \(file) again")
    }
  }
}
