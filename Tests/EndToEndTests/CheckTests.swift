// `martlet check` with a running process: what a reload would change there.

import Foundation
import Testing

@Suite struct CheckTests {
  private func check(
    _ martlet: MartletProcess, _ file: String, _ flags: String...
  ) throws -> CommandResult {
    let child = try MartletProcess.start(["check", file] + flags, in: martlet.folder)
    let status = try child.waitForExit()
    return CommandResult(status: status, output: child.outputText, errors: child.errorText)
  }

  private let unchanged = "a reload of the running Martlet would change nothing\n"

  @Test func `it prints what a reload would change, including flags`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      backends: [stub], rest: #""watch": false"#, flags: ["--workers", "1"])
    #expect(try check(martlet, "config.json").output.hasSuffix(unchanged))

    let fresh = MartletProcess.configuration(
      backends: [stub, "127.0.0.1:9"], pool: #""when-all-down": "fail-open""#,
      rest: #""watch": false, "workers": 7"#)
    try martlet.folder.write(fresh, to: "new.json")
    let result = try check(martlet, "new.json")
    #expect(result.status == 0)
    #expect(try check(martlet, "--config", "new.json").output == result.output)
    #expect(
      result.output.hasSuffix(
        """
        a reload of the running Martlet would change:
          + pools[default].backends[127.0.0.1:9]: { "address": "127.0.0.1:9" }
          ~ pools[default].when-all-down: "refuse" -> "fail-open"

        """), "\(result.output)")

    try martlet.reload(fresh)
    #expect(try check(martlet, "new.json").output.hasSuffix(unchanged))
    // A reload undoes changes of operators.
    let added = try run(
      [
        "curl", "-s", "--unix-socket", martlet.folder.path("admin.sock"), "-d",
        #"{"address": "127.0.0.1:8"}"#, "http://localhost/v1/pools/default/backends",
      ])
    #expect(added.output.contains("127.0.0.1:8"))
    let back = try check(martlet, "new.json").output
    #expect(back.contains("- pools[default].backends[127.0.0.1:8]"), "\(back)")
  }

  @Test func `a large file is compared too`() throws {
    let martlet = try MartletProcess(backends: ["127.0.0.1:9"], rest: #""watch": false"#)
    let many = (1...9000).map { "127.1.\($0 / 250).\($0 % 250):9" }
    try martlet.folder.write(MartletProcess.configuration(backends: many), to: "many.json")
    let result = try check(martlet, "many.json").output
    #expect(result.contains("  + pools[default].backends[127.1.36.0:9]: "))
  }

  @Test func `without a running or responding process nothing is printed about changes`() throws {
    let martlet = try MartletProcess(backends: ["127.0.0.1:9"])
    martlet.signal(SIGSTOP)
    let frozen = try check(martlet, "config.json")
    martlet.signal(SIGCONT)
    #expect(frozen.status == 0 && !frozen.output.contains("reload") && frozen.errors.isEmpty)
    #expect(try check(martlet, "config.json").output.hasSuffix(unchanged))
    let elsewhere = try check(martlet, "config.json", "--socket", "none.sock")
    #expect(elsewhere.output == frozen.output && elsewhere.errors.isEmpty)
    _ = try martlet.terminate()
    let none = try check(martlet, "config.json")
    #expect(none.output == frozen.output && none.errors.isEmpty)
  }

  // MARK: All errors at once

  private func check(_ folder: TemporaryFolder, _ flags: String...) throws -> CommandResult {
    try run([Installation.binary, "check"] + flags, in: folder.path)
  }

  @Test func `mistakes in the text and in files are found in one pass, each at its line`() throws {
    let folder = TemporaryFolder()
    try folder.write("short", to: "token")
    try folder.write("short", to: "ticket")
    try folder.write("-----BEGIN", to: "bad.crt")
    try folder.write(
      """
      {
        "listeners": [
          { "listen": "127.0.0.1:0", "tls": {
              "certificates": [
                { "chain": "bad.crt", "key": "gone.key" },
                { "chain": "gone.crt" }
              ],
              "tickets": { "key-files": ["ticket", "gone.ticket"] } } }
        ],
        "pools": [{ "backends": ["127.0.0.1:1"], "strategy": "rundom" }],
        "error-pages": { "503": "gone.html" },
        "log": { "target": "gone/access.log" },
        "process": { "user": "no-such-user" },
        "admin": { "socket": "gone/deeper/admin.sock", "token-file": "token" }
      }
      """, to: "config.json")
    let result = try check(folder)
    #expect(result.status == 1)
    let lines = result.errors.split(separator: "\n").map(String.init)
    let wanted = [
      #"config.json:5:22: error: listeners[0].tls.certificates[0].chain: bad.crt "#,
      #"config.json:5:40: error: listeners[0].tls.certificates[0].key: gone.key does not exist"#,
      #"config.json:6:11: error: listeners[0].tls.certificates[1]: the key "key" is missing"#,
      #"config.json:6:22: error: listeners[0].tls.certificates[1].chain: gone.crt does not exist"#,
      #"config.json:8:36: error: listeners[0].tls.tickets.key-files[0]: ticket must be 48 or 80"#,
      #"config.json:8:46: error: listeners[0].tls.tickets.key-files[1]: gone.ticket can't be read"#,
      #"config.json:10:56: error: pools[0].strategy: "rundom" is not a strategy"#,
      #"config.json:11:27: error: error-pages.503: gone.html can't be read"#,
      #"config.json:12:22: error: log.target: gone/access.log can't be opened"#,
      #"config.json:13:24: error: process.user: there is no user no-such-user"#,
      #"config.json:14:24: error: admin.socket: the socket gone/deeper/admin.sock can't be"#,
      #"config.json:14:64: error: admin.token-file: token: the token has fewer than 16"#,
      "martlet: error: the configuration has 12 errors",
    ]
    #expect(lines.count == wanted.count, "\(result.errors)")
    for (line, beginning) in zip(lines, wanted) {
      #expect(line.hasPrefix(beginning), "\(line)\n\(beginning)")
    }
  }

  @Test(arguments: [
    #""log": { "target": "gone/access.log" }"#, #""log": { "target": "." }"#,
    #""admin": { "token-file": "gone" }"#,
    #""admin": { "socket": "gone/deeper/admin.sock" }"#,
    #""process": { "user": "no-such-user" }"#,
    #""error-pages": { "503": "gone.html" }"#,
  ])
  func `check refuses what prevents run from starting`(_ section: String) throws {
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["127.0.0.1:1"] }],
        \(section) }
      """, to: "config.json")
    let ran = try MartletProcess.start(["run"], in: folder)
    #expect(try ran.waitForExit() == 70)
    let result = try check(folder)
    #expect(result.status == 1)
    #expect(result.errors.contains("config.json:2:"), "\(result.errors)")
    #expect(try check(folder, "--as-run").status == 1)
  }

  @Test func `an expired certificate is an error, and with as-run a warning`() throws {
    let certificates = try Certificates()
    try certificates.makeExpired("expired")
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "tls": { "certificates": [
          \(certificates.entry("expired"))] } }],
        "pools": [{ "backends": ["127.0.0.1:1"] }] }
      """, to: "config.json")
    for (flags, status, severity) in [([], Int32(1), "error"), (["--as-run"], 0, "warning")]
      as [([String], Int32, String)]
    {
      let result = try run([Installation.binary, "check"] + flags, in: folder.path)
      #expect(result.status == status)
      #expect(
        result.errors.contains(
          "config.json:2:16: \(severity): listeners[0].tls.certificates[0].chain"),
        "\(result.errors)")
      #expect(result.errors.contains("expired.crt: the certificate has expired"))
    }
  }

  @Test func `an unreadable key hides nothing of the chain, nor an expired chain of the key`()
    throws
  {
    let certificates = try Certificates()
    try certificates.makeExpired("expired")
    chmod(certificates.folder.path("expired.key"), 0o644)
    let folder = TemporaryFolder()
    let chain = certificates.folder.path("expired.crt")
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0", "tls": { "certificates": [
          { "chain": "\(chain)", "key": "gone.key" },
          { "chain": "gone.crt", "key": "\(certificates.folder.path("expired.key"))" }] } }],
        "pools": [{ "backends": ["127.0.0.1:1"] }] }
      """, to: "config.json")
    let errors = try check(folder).errors
    for (line, text) in [
      (2, "gone.key does not exist"), (2, "expired.crt: the certificate has expired"),
      (3, "gone.crt does not exist"), (3, "every user of this machine can read this key"),
    ] {
      let found = errors.split(separator: "\n").contains {
        $0.hasPrefix("config.json:\(line):") && $0.contains(text)
      }
      #expect(found, "\(text): \(errors)")
    }
  }

  @Test func `a missing pool is found beside an address that is none`() throws {
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }],
        "pools": [{ "name": "app", "backends": ["no address"] }],
        "routes": [{ "forward": "app" }, { "path": "/api", "forward": "api" }] }
      """, to: "config.json")
    let errors = try check(folder).errors
    #expect(errors.contains("config.json:2:"), "\(errors)")
    #expect(errors.contains("routes[1].forward: there is no pool \"api\""), "\(errors)")
  }

  /// The check that systemd runs before the start must agree with Martlet itself.
  @Test func `the packaged unit checks as run does`() throws {
    let unit = try String(
      contentsOfFile: Installation.root + "/packaging/martlet.service", encoding: .utf8)
    #expect(unit.contains("ExecStartPre=/usr/local/bin/martlet check --as-run "))
  }
}
