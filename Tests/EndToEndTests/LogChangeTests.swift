// Log changes in a running process: by a reload, and the level of the process log by a command.

import Foundation
import Testing

@Suite struct LogChangeTests {
  private func configuration(_ stub: StubBackend, _ log: String) -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0", "name": "web" }],
      "pools": [{ "backends": [\(stub.json)] }], "watch": false, "log": { \(log) } }
    """
  }

  private func command(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    try run(
      [Installation.binary] + arguments + ["--socket", martlet.folder.path("admin.sock")],
      in: martlet.folder.path)
  }

  /// Sends requests until the log at `name` has a line with that path: workers apply a reload one
  /// by one.
  private func logs(_ martlet: MartletProcess, _ name: String, _ path: String) throws -> String {
    try eventually("\(path) is logged in \(name)") {
      _ = try martlet.get(path)
      return martlet.folder.read(name).contains(path)
    }
    return martlet.folder.read(name)
  }

  @Test func `a reload turns the access log on, over and off`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      configuration(stub, #""access": "off", "target": "one.log""#), keeping: [stub])
    _ = try martlet.get("/before")
    #expect(!FileManager.default.fileExists(atPath: martlet.folder.path("one.log")))

    try martlet.reload(configuration(stub, #""access": "json", "target": "one.log""#))
    let lines = try logs(martlet, "one.log", "/json")
    #expect(lines.hasPrefix("{\"time\"") && !lines.contains("/before"))

    try martlet.reload(configuration(stub, #""access": "$status $target", "target": "two.log""#))
    #expect(try logs(martlet, "two.log", "/template").contains("200 /template\n"))

    try martlet.reload(configuration(stub, #""access": "off", "target": "two.log""#))
    eventually("the file is closed") { !isOpen("two.log", martlet) }
    let before = martlet.folder.read("two.log")
    for _ in 0..<20 { #expect(try martlet.get("/off").status == 200) }
    #expect(try martlet.terminate() == 0)
    #expect(martlet.folder.read("two.log") == before)
    #expect(!martlet.folder.read("one.log").contains("/off"))
  }

  private func isOpen(_ name: String, _ martlet: MartletProcess) -> Bool {
    let folder = "/proc/\(martlet.process.id)/fd"
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return entries.contains { entry in
      let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(entry)")
      return target?.hasSuffix("/\(name)") == true
    }
  }

  @Test func `a log that is rotated away or replaced is closed, also the first one`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(configuration(stub, #""target": "one.log""#), keeping: [stub])
    _ = try logs(martlet, "one.log", "/first")
    for turn in 1...3 {
      try FileManager.default.moveItem(
        atPath: martlet.folder.path("one.log"), toPath: martlet.folder.path("one.\(turn)"))
      martlet.signal(SIGUSR1)
      eventually("the old file is closed") { !isOpen("one.\(turn)", martlet) }
      _ = try logs(martlet, "one.log", "/turn\(turn)")
    }
    try martlet.reload(configuration(stub, #""target": "two.log""#))
    eventually("the file is closed") { !isOpen("one.log", martlet) }
    _ = try logs(martlet, "two.log", "/second")
  }

  @Test func `reloads leave no descriptor open`() throws {
    let stub = try StubBackend()
    let (port, other) = (try freePort(), try freePort())
    func file(_ name: String, _ port: Int) -> String {
      """
      { "listeners": [
          { "listen": "127.0.0.1:0", "name": "web" }, { "listen": "127.0.0.1:\(port)" }],
        "pools": [{ "backends": [\(stub.json)], "health": "off" }], "watch": false,
        "log": { "target": "\(name).log" }, "process": { "pid-file": "\(name).pid" },
        "tracing": { "endpoint": "http://127.0.0.1:\(port)", "service-name": "\(name)" },
        "admin": { "socket": "\(name).sock", "listen": "127.0.0.1:0" } }
      """
    }
    let martlet = try MartletProcess(file("one", port), keeping: [stub])
    func descriptors() -> Int {
      let folder = "/proc/\(martlet.process.id)/fd"
      return (try? FileManager.default.contentsOfDirectory(atPath: folder))?.count ?? 0
    }
    _ = try martlet.get("/")
    // Use both once, so that everything that is created on first use exists.
    try martlet.reload(file("two", other))
    try martlet.reload(file("one", port))
    eventually("the other listener is closed") { (try? Wire(port: other)) == nil }
    let before = descriptors()
    for _ in 0..<5 {
      try martlet.reload(file("two", other))
      martlet.signal(SIGUSR1)
      try martlet.reload(file("one", port))
    }
    eventually("there are no more than before") { descriptors() <= before }
  }

  /// As under systemd, where /dev/stdout is a socket and can't be opened.
  @Test func `the log goes to the standard output if that is a socket, with any of its names`()
    throws
  {
    let stub = try StubBackend()
    let launcher = """
      import os, socket, sys
      ours, theirs = socket.socketpair()
      if os.fork() == 0:
          theirs.close()
          with open("out.log", "ab", buffering=0) as file:
              while data := ours.recv(65536):
                  file.write(data)
          os._exit(0)
      os.dup2(theirs.fileno(), 1)
      ours.close()
      os.execv(sys.argv[1], sys.argv[1:])
      """
    for target in ["/dev/stdout", "/proc/self/fd/1", "stdout"] {
      let martlet = try MartletProcess(
        configuration(stub, #""target": "\#(target)""#), wrapper: ["python3", "-c", launcher],
        keeping: [stub])
      _ = try logs(martlet, "out.log", "/to-a-socket")
    }
  }

  @Test func `a log that can't be opened makes a configuration refused`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(configuration(stub, #""target": "one.log""#), keeping: [stub])
    try martlet.reload(configuration(stub, #""target": "none/two.log""#))
    #expect(martlet.log.contains("can't open the access log none/two.log: No such file"))
    #expect(martlet.log.contains("the new configuration is refused"))
    #expect(try logs(martlet, "one.log", "/still").contains("/still"))
  }

  @Test func `a new level of the process log is used until the next reload`() throws {
    let stub = try StubBackend()
    let warning = configuration(stub, #""target": "one.log", "level": "warning""#)
    let martlet = try MartletProcess(warning, keeping: [stub])
    func reload() throws -> Int32 { try command(martlet, "reload").status }
    #expect(try command(martlet, "log-level").output == "warning\n")
    #expect(try !command(martlet, "status").output.contains("(in the configuration: "))
    #expect(try reload() == 0)
    #expect(!martlet.log.contains("in force"))

    #expect(try command(martlet, "log-level", "info").output == "info\n")
    #expect(try command(martlet, "log-level").output == "info\n")
    #expect(
      try command(martlet, "status").output
        .contains("log       level info (in the configuration: warning)\n"))
    #expect(martlet.log.contains("the log level was changed level=info"))

    // A reload sets the level of the file, and so does the command that restores it.
    #expect(try reload() == 0)
    #expect(try command(martlet, "log-level").output == "warning\n")
    #expect(!martlet.log.contains("in force"))
    #expect(try command(martlet, "log-level", "debug").output == "debug\n")
    #expect(try command(martlet, "log-level", "configured").output == "warning\n")

    try martlet.folder.write(configuration(stub, #""level": "info""#), to: "config.json")
    #expect(try reload() == 0)
    #expect(martlet.log.contains("the new configuration is in force"))
    #expect(try command(martlet, "log-level").output == "info\n")

    let wrong = try command(martlet, "log-level", "loud")
    #expect(wrong.status == 64 && wrong.errors.contains("'loud' is not a level"))
  }
}
