// Configured files that are not regular files: a named pipe without a writer, a socket, a link to a
// missing file. None of them blocks `check`, a start or a reload.

import Foundation
import Testing

@Suite struct OddFileTests {
  /// The sections that use one file each, `odd`.
  private static let sections = [
    (name: "a certificate", text: tls(#""certificates": [{ "chain": "odd", "key": "KEY" }]"#)),
    (name: "a key", text: tls(#""certificates": [{ "chain": "CHAIN", "key": "odd" }]"#)),
    (
      name: "a ticket key",
      text: tls(
        """
        "certificates": [{ "chain": "CHAIN", "key": "KEY" }], "tickets": { "key-files": ["odd"] }
        """)
    ),
    (name: "a page", text: plain(#""error-pages": { "503": "odd.html" }"#)),
    (name: "a token", text: plain(#""admin": { "listen": "127.0.0.1:0", "token-file": "odd" }"#)),
    (
      name: "an authority",
      text: plain(
        """
        "admin": { "listen": "127.0.0.1:0", "certificate": { "chain": "CHAIN", "key": "KEY" },
          "client-ca": "odd" }
        """)
    ),
    (name: "a log", text: plain(#""log": { "target": "odd" }"#)),
  ]

  private static func tls(_ keys: String) -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0", "tls": { \(keys) } }],
      "pools": [{ "backends": ["127.0.0.1:1"], "health": "off" }] }
    """
  }

  private static func plain(_ section: String) -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0" }],
      "pools": [{ "backends": ["127.0.0.1:1"], "health": "off" }], "watch": false, \(section) }
    """
  }

  private func makePipes(_ folder: TemporaryFolder) {
    for name in ["odd", "odd.html"] { #expect(mkfifo(folder.path(name), 0o600) == 0) }
  }

  private func complete(_ text: String, _ certificates: Certificates) -> String {
    text.replacing("CHAIN", with: certificates.folder.path("server.crt"))
      .replacing("KEY", with: certificates.folder.path("server.key"))
  }

  @Test(arguments: sections.indices)
  func `a pipe in place of a file is refused by check, by a start and by a reload`(
    _ index: Int
  ) throws {
    let certificates = try Certificates()
    let (name, section) = Self.sections[index]
    let text = complete(section, certificates)
    let folder = TemporaryFolder()
    makePipes(folder)
    try folder.write(text, to: "config.json")
    let checked = try MartletProcess.start(["check"], in: folder)
    #expect(try checked.waitForExit(atMost: 20) == 1, "\(name)")
    let reason = name == "a log" ? "no process reads from this pipe" : "it is not a regular file"
    #expect(checked.errorText.contains(reason), "\(name): \(checked.errorText)")
    let ran = try MartletProcess.start(["run"], in: folder)
    #expect(try ran.waitForExit(atMost: 20) == 70, "\(name)")
    #expect(ran.errorText.contains(reason), "\(name): \(ran.errorText)")

    let good = Self.plain(#""log": { "access": "off" }"#)
    let martlet = try MartletProcess(good)
    makePipes(martlet.folder)
    try martlet.reload(text)
    #expect(martlet.log.contains("the new configuration is refused"), "\(name)")
    #expect(martlet.log.contains(reason), "\(name): \(martlet.log)")
    // The control thread still runs.
    try martlet.reload(good)
    #expect(martlet.log.contains("the new configuration is in force"), "\(name)")
  }

  @Test func `a configuration file that becomes a pipe or a socket is refused`() throws {
    let martlet = try MartletProcess(Self.plain(#""log": { "access": "off" }"#))
    let file = martlet.folder.path("config.json")
    let text = try String(contentsOfFile: file, encoding: .utf8)
    func refusals() -> Int {
      martlet.log.components(separatedBy: "the new configuration is refused").count - 1
    }
    try FileManager.default.removeItem(atPath: file)
    #expect(mkfifo(file, 0o600) == 0)
    martlet.signal(SIGHUP)
    eventually("it is refused") { refusals() == 1 }
    #expect(martlet.log.contains("the file can't be read: it is not a regular file"))
    try FileManager.default.removeItem(atPath: file)
    let server = try StubBackend(socket: file) { _, _ in false }
    martlet.signal(SIGHUP)
    eventually("it is refused") { refusals() == 2 }
    withExtendedLifetime(server) {}
    try? FileManager.default.removeItem(atPath: file)
    try martlet.reload(text)
    #expect(martlet.log.contains("the new configuration is in force"))
  }

  @Test func `a watched file that becomes a pipe is no reason to wait`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
        "error-pages": { "503": "page.html" }, "log": { "access": "off" } }
      """,
      in: {
        let folder = TemporaryFolder()
        try folder.write("<p>one", to: "page.html")
        return folder
      }(), keeping: [stub])
    let page = martlet.folder.path("page.html")
    try FileManager.default.removeItem(atPath: page)
    #expect(mkfifo(page, 0o600) == 0)
    eventually("it is refused") { martlet.log.contains("the new configuration is refused") }
    #expect(martlet.log.contains("it is not a regular file"), "\(martlet.log)")
  }

  @Test func `commands take a configuration from a pipe`() throws {
    let folder = TemporaryFolder()
    let text = try folder.write(Self.plain(#""workers": 2"#), to: "config.json")
    let checked = try run(
      ["sh", "-c", #"cat "$1" | "$0" check /dev/stdin --socket none"#, Installation.binary, text],
      in: folder.path)
    #expect(checked.status == 0, "\(checked.errors)")
    let difference = try run(
      [
        "bash", "-c", #""$0" diff "$1" <(sed 's/"workers": 2/"workers": 3/' "$1")"#,
        Installation.binary, text,
      ], in: folder.path)
    #expect(difference.output.hasPrefix("~ workers: 2 -> 3"), "\(difference.errors)")
  }

  @Test func `a pipe in place of the pid file stays, and check warns`() throws {
    let folder = TemporaryFolder()
    #expect(mkfifo(folder.path("pid"), 0o600) == 0)
    let martlet = try MartletProcess(
      MartletProcess.configuration(
        backends: [try StubBackend("hello")], rest: #""process": { "pid-file": "pid" }"#),
      in: folder)
    eventually("the warning is logged") { martlet.log.contains("can't write process.pid-file") }
    let checked = try run([Installation.binary, "check"], in: folder.path)
    #expect(checked.status == 0 && checked.errors.contains("it is not a regular file"))
    #expect(try martlet.terminate() == 0)
    var status = stat()
    #expect(lstat(folder.path("pid"), &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
  }

  // MARK: What check and run must agree on

  @Test(arguments: [
    #""log": { "target": "server.sock" }"#, #""log": { "target": "dangling.log" }"#,
    #""log": { "target": "/dev/fd/77" }"#, #""log": { "target": "/proc/self/fd/77" }"#,
    #""log": { "target": "loop.log" }"#, #""log": { "target": "config.json/access.log" }"#,
    #""log": { "target": "\#(String(repeating: "x", count: 300))" }"#,
    #""admin": { "socket": "/tmp/\#(String(repeating: "x", count: 120))" }"#,
    #""admin": { "listen": "127.0.0.1:PORT" }"#,
    #""admin": { "listen": "*:PORT", "token-file": "t" }"#,
    #""process": { "group": "daemon" }"#,
  ])
  func `check refuses what prevents run from starting, at its line`(_ section: String) throws {
    let folder = TemporaryFolder()
    let server = try StubBackend(socket: folder.path("server.sock")) { _, _ in false }
    for (link, target) in [("dangling.log", "gone/access.log"), ("loop.log", "loop.log")] {
      try FileManager.default.createSymbolicLink(
        atPath: folder.path(link), withDestinationPath: target)
    }
    try folder.write("0123456789abcdef", to: "t")
    let port = try freePort()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:\(port)" }],
        "pools": [{ "backends": ["127.0.0.1:1"] }],
        \(section.replacing("PORT", with: "\(port)")) }
      """, to: "config.json")
    let ran = try MartletProcess.start(["run"], in: folder)
    let status = try ran.waitForExit()
    #expect([1, 70].contains(status), "\(ran.errorText)")
    let result = try run([Installation.binary, "check"], in: folder.path)
    #expect(result.status == 1)
    #expect(result.errors.contains("config.json:3:"), "\(result.errors)")
    withExtendedLifetime(server) {}
  }

  @Test(arguments: ["fine.log", "/dev/null", "piped.log"])
  func `check accepts every log target that run can open`(_ target: String) throws {
    let folder = TemporaryFolder()
    // A link to a file that does not exist yet.
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("fine.log"), withDestinationPath: "made.log")
    #expect(mkfifo(folder.path("piped.log"), 0o600) == 0)
    let reading = open(folder.path("piped.log"), O_RDWR | O_CLOEXEC)
    defer { close(reading) }
    let stub = try StubBackend()
    let text = """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": [\(stub.json)] }],
        "log": { "target": "\(target)" } }
      """
    try folder.write(text, to: "config.json")
    let result = try run([Installation.binary, "check"], in: folder.path)
    #expect(result.status == 0, "\(result.errors)")
    #expect(!FileManager.default.fileExists(atPath: folder.path("made.log")))
    let martlet = try MartletProcess(text, in: folder, keeping: [stub])
    #expect(try martlet.get("/logged").status == 200)
    if target == "fine.log" {
      eventually("it is logged") { folder.read("made.log").contains("/logged") }
    }
  }
}
