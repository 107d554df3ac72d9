// The user that Martlet runs as, its privileges, and access to its keys.
//
// Only root can change to another user, as in a container. Run by other users, these tests check
// that it is refused.

import Foundation
import Testing

@Suite(.serialized) struct PrivilegeTests {
  private static let user = "nobody"
  private let isRoot = geteuid() == 0

  /// A field of /proc/PID/status for every thread.
  private func field(_ name: String, of id: pid_t) -> Set<String> {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task")) ?? []
    return Set(
      tasks.compactMap { task in
        let status = try? String(contentsOfFile: "/proc/\(id)/task/\(task)/status", encoding: .utf8)
        return status?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
          .map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
      })
  }

  /// A folder that the user can write to, with the binary in it.
  private func installedForUser() throws -> Installed {
    let installed = try Installed()
    installed.remove()
    // Copied by another process: a child that is being started here at the same time could have the
    // copy open for writing, and then it can't be executed.
    try run(["cp", Installation.binary, installed.binary])
    let entry = try #require(getpwnam(Self.user)).pointee
    chmod(installed.binary, 0o755)
    chown(installed.folder.path, entry.pw_uid, entry.pw_gid)
    return installed
  }

  private func configuration(_ stub: StubBackend, _ listeners: String) -> String {
    """
    { "listeners": [\(listeners)], "pools": [{ "backends": [\(stub.json)] }],
      "log": { "target": "access.log" },
      "process": { "user": "\(Self.user)", "pid-file": "pid" } }
    """
  }

  /// A free port below 1024.
  private func lowPort() throws -> Int {
    for port in (600..<1024).shuffled() {
      let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(probe) }
      if withLoopback(port, { bind(probe, $0, $1) }) == 0 { return port }
    }
    throw HarnessError("no low port is free")
  }

  private func readable(_ certificates: Certificates) throws {
    let entry = try #require(getpwnam(Self.user)).pointee
    chmod(certificates.folder.path, 0o755)
    chown(certificates.folder.path("server.key"), entry.pw_uid, entry.pw_gid)
  }

  @Test func `root becomes the user in every thread, and can still bind low ports`() throws {
    let stub = try StubBackend("hello")
    guard isRoot else { return try refusedToOthers(stub) }
    let installed = try installedForUser()
    let low = try lowPort()
    let first = #"{ "listen": "127.0.0.1:0" }"#
    let martlet = try installed.start(configuration(stub, first), keeping: [stub])
    let id = String(try #require(getpwnam(Self.user)).pointee.pw_uid)
    func check(_ process: pid_t) {
      #expect(field("Uid", of: process) == ["\(id)\t\(id)\t\(id)\t\(id)"])
      // CAP_NET_BIND_SERVICE has number 10.
      for set in ["CapEff", "CapPrm"] {
        #expect(field(set, of: process) == ["0000000000000400"], "\(set)")
      }
      #expect(field("NoNewPrivs", of: process) == ["1"])
      #expect(!field("Groups", of: process).contains { $0.split(separator: " ").contains("0") })
      let limits = try? String(contentsOfFile: "/proc/\(process)/limits", encoding: .utf8)
      let core = limits?.split(separator: "\n").first { $0.hasPrefix("Max core file size") }
      #expect(core?.split(separator: " ").dropFirst(4).first == "0")
    }
    check(martlet.process.id)
    #expect(try martlet.get().text == "hello")
    // A reload can bind a low port, and so can the new process after an upgrade.
    try martlet.reload(configuration(stub, first + #", { "listen": "127.0.0.1:\#(low)" }"#))
    try eventually("the low port serves") { try Wire(port: low).get().text == "hello" }
    try martlet.reload(configuration(stub, first))
    eventually("it is closed") { (try? Wire(port: low)) == nil }
    try installed.folder.write(
      configuration(stub, first + #", { "listen": "127.0.0.1:\#(low)" }"#), to: "config.json")
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    check(installed.servingProcess)
    #expect(try Wire(port: low).get().text == "hello")
    #expect(try martlet.get().text == "hello")
  }

  private func refusedToOthers(_ stub: StubBackend) throws {
    let folder = TemporaryFolder()
    try folder.write(configuration(stub, #"{ "listen": "127.0.0.1:0" }"#), to: "config.json")
    let martlet = try MartletProcess.start(["run"], in: folder)
    #expect(try martlet.waitForExit() == 70)
    #expect(martlet.errorText.contains("only root can become user \(Self.user)"))
  }

  @Test func `a key or a configuration that only root can read is found at the start`() throws {
    let stub = try StubBackend("hello")
    guard isRoot else { return try refusedToOthers(stub) }
    let installed = try installedForUser()
    let certificates = try Certificates()
    chmod(certificates.folder.path, 0o755)
    let listener =
      #"{ "listen": "127.0.0.1:0", "tls": { "certificates": [\#(certificates.entry())] } }"#
    try installed.folder.write(configuration(stub, listener), to: "config.json")
    func failure() throws -> String {
      let process = try MartletProcess.start(
        ["run"], in: installed.folder, binary: installed.binary)
      #expect(try process.waitForExit() == 70)
      return process.errorText
    }
    let key = certificates.folder.path("server.key")
    #expect(try failure().contains("\(key)"))
    try readable(certificates)
    chmod(installed.folder.path("config.json"), 0o600)
    #expect(try failure().contains("can't read the configuration, so no reload would work"))
    chmod(installed.folder.path("config.json"), 0o644)
    let martlet = try installed.start(configuration(stub, listener), keeping: [stub])
    let said = try run([
      "curl", "-sS", "--cacert", certificates.authority, "https://localhost:\(martlet.port)/",
    ])
    #expect(said.output == "hello", "\(said.errors)")
  }

  @Test func `an error names a user that doesn't exist`() throws {
    let stub = try StubBackend("hello")
    let folder = TemporaryFolder()
    try folder.write(
      configuration(stub, #"{ "listen": "127.0.0.1:0" }"#)
        .replacingOccurrences(of: Self.user, with: "no-such-user"), to: "config.json")
    let martlet = try MartletProcess.start(["run"], in: folder)
    #expect(try martlet.waitForExit() == 70)
    #expect(martlet.errorText.contains("there is no user no-such-user"))
  }

  @Test func `an exposed key is a warning, and refused by option`() throws {
    let certificates = try Certificates()
    let key = certificates.folder.path("server.key")
    let folder = TemporaryFolder()
    func check(_ policy: String) throws -> CommandResult {
      try folder.write(
        """
        { "listeners": [{ "listen": "127.0.0.1:0",
            "tls": { "certificates": [\(certificates.entry())] } }],
          "pools": [{ "backends": ["127.0.0.1:1"] }], "process": { "exposed-keys": "\(policy)" } }
        """, to: "config.json")
      return try run([Installation.binary, "check"], in: folder.path)
    }
    #expect(try check("refuse").status == 0)
    for (mode, text) in [
      (mode_t(0o644), "every user of this machine can read this key"),
      (0o660, "others than its owner can change this key"),
      (0o602, "others than its owner can change this key"),
    ] {
      chmod(key, mode)
      let warned = try check("warn")
      #expect(warned.status == 0)
      #expect(warned.errors.contains("certificates[0].key: \(key): \(text)\n"), "\(warned.errors)")
      let refused = try check("refuse")
      #expect(refused.status == 1)
      #expect(refused.errors.contains("\(key): \(text)"), "\(refused.errors)")
    }
  }
}
