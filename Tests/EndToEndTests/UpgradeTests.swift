// Replacing the running binary: which process serves, what is passed on, and failures.

import Foundation
import Testing

@Suite(.serialized) struct UpgradeTests {
  // MARK: Taking over

  /// More workers must join the group of sockets; fewer workers must serve several sockets each.
  @Test(arguments: [[2, 2], [1, 3, 1]])
  func `binaries replaced under load drop no request, with any number of workers`(
    _ workers: [Int]
  ) throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    func configuration(_ workers: Int) -> String {
      installed.configuration(backends: [stub], rest: #""workers": \#(workers)"#)
    }
    let martlet = try installed.start(configuration(workers[0]), keeping: [stub])
    let kept = Load(martlet)
    let fresh = Load(martlet, clients: 3, keepsAlive: false)
    defer {
      kept.stop()
      fresh.stop()
    }
    var served = [martlet.process.id]
    for count in workers.dropFirst() + [workers[0]] {
      _ = fresh.nextAnswers(50)
      try installed.folder.write(configuration(count), to: "config.json")
      let result = try installed.upgrade()
      #expect(result.status == 0, "\(result.errors)\(martlet.log)")
      let id = installed.servingProcess
      #expect(!served.contains(id))
      #expect(
        result.output == "process \(id) has taken over from \(served.last ?? 0)\n")
      _ = kept.nextAnswers(50)
      _ = fresh.nextAnswers(50)
      let before = try #require(served.last)
      eventually("the one before ends") { !isAlive(before) }
      served.append(id)
      _ = fresh.nextAnswers(50)
    }
    #expect(try martlet.process.waitForExit() == 0)
    #expect(kept.stop().errors == [])
    #expect(fresh.stop().errors == [])
  }

  @Test func `the new process uses the installed binary and the current configuration file`()
    throws
  {
    let old = try StubBackend("old")
    let new = try StubBackend("new")
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(backends: [old]), keeping: [old, new])
    #expect(try martlet.get().text == "old")
    try installed.replace(with: #"echo "$@" > "${0%/*}/marker"; exec "$real" "$@""#)
    try installed.folder.write(installed.configuration(backends: [new]), to: "config.json")
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(installed.folder.read("marker") == "run\n")
    eventually("the new one alone answers") { (try? martlet.get().text) == "new" }
    #expect(try martlet.process.waitForExit() == 0)
    #expect(try martlet.get().text == "new")
  }

  @Test func `an exchange under way ends in the old process while the new one serves`() throws {
    let installed = try Installed()
    let stub = try StubBackend.halving(until: installed.folder.path("go"))
    let martlet = try installed.start(installed.configuration(backends: [stub]), keeping: [stub])
    let wire = try martlet.wire()
    try wire.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _ = try wire.takeHead()
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    for _ in 0..<20 { #expect(try martlet.get().text == "ok") }
    // This isn't the second SIGTERM that ends a process at once, since the upgrade began the drain.
    martlet.signal(SIGTERM)
    eventually("it says so") { martlet.log.contains("already draining") }
    #expect(martlet.process.isRunning)
    try installed.folder.write("", to: "go")
    #expect(try wire.take(10) == Array("firstother".utf8))
    wire.end()
    #expect(try martlet.process.waitForExit() == 0)
    #expect(isAlive(installed.servingProcess))
  }

  @Test func `a listener that the new configuration lacks is closed, and a new one is opened`()
    throws
  {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let added = try freePort()
    let gone = try freePort()
    func configuration(_ port: Int) -> String {
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }, { "listen": "127.0.0.1:\(port)" }],
        "pools": [{ "backends": [\(stub.json)] }], "process": { "pid-file": "pid" },
        "log": { "target": "access.log" } }
      """
    }
    let martlet = try installed.start(configuration(gone), keeping: [stub])
    #expect(try Wire(port: gone).get().text == "hello")
    try installed.folder.write(configuration(added), to: "config.json")
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    eventually("the old one is closed") { (try? Wire(port: gone)) == nil }
    #expect(try Wire(port: added).get().text == "hello")
    #expect(try martlet.get().text == "hello")
  }

  // MARK: State that is passed on

  @Test func `health is passed on: the new process doesn't try an ejected backend`() throws {
    let stub = try StubBackend("up")
    let dead = "127.0.0.1:\(try freePort())"
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(
        backends: [dead, stub],
        pool: #""health": "off", "ejection": { "failures": 1, "base": "10m", "max": "1h" }"#),
      keeping: [stub])
    eventually("it is ejected") {
      (try? martlet.get().text) == "up" && martlet.log.contains("backend down: ejected")
    }
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(try martlet.process.waitForExit() == 0)
    let before = try martlet.accessLines().count
    for _ in 0..<10 { #expect(try martlet.get().text == "up") }
    for line in try martlet.accessLines(atLeast: before + 10).dropFirst(before) {
      #expect((line["attempts"] as? [Any])?.count == 1)
    }
  }

  @Test func `ticket keys are passed on: the new process resumes the old one's sessions`() throws {
    let stub = try StubBackend("hello")
    let certificates = try Certificates()
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(
        backends: [stub],
        listener: #""tls": { "certificates": [\#(certificates.entry())] }"#),
      keeping: [stub])
    let session = installed.folder.path("session")
    let target = ["s_client", "-connect", "127.0.0.1:\(martlet.port)", "-ign_eof"]
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try run(["openssl"] + target + ["-sess_out", session], input: request)
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(try martlet.process.waitForExit() == 0)
    let said = try run(["openssl"] + target + ["-sess_in", session], input: request)
    #expect(said.output.contains("Reused, "), "\(said)")
    #expect(said.output.contains("hello"))
  }

  // MARK: Failures

  @Test(arguments: [
    ("exit 3", "the new process ended (exit status 3) before it served"),
    ("kill -SEGV $$", "the new process ended (signal 11) before it served"),
    // The channel is closed, but the process continues.
    (
      #"IFS=: read -r _ _ end <<< "$MARTLET_HANDOVER"; eval "exec $end>&-"; exec sleep 600"#,
      "the new process ended (signal 9) before it served"
    ),
    ("exec sleep 600", "the new process did not serve in time, and was ended"),
    (#"exec "$real" run --config none.json"#, "does not serve: the configuration is refused"),
    // It has the sockets, but their description has a newer version.
    (
      #"IFS=: read -r _ memory _ <<< "$MARTLET_HANDOVER"; "#
        + #"printf 'martlet-handover\t99\n' > /proc/$$/fd/$memory; exec "$real" "$@""#,
      "hands over in a way that is unknown here"
    ),
  ])
  func `a new process that fails leaves the old one serving, and the next may succeed`(
    _ script: String, _ reason: String
  ) throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let limit = script == "exec sleep 600" ? "1s" : "10m"
    let martlet = try installed.start(
      installed.configuration(backends: [stub], rest: #""limits": { "upgrade": "\#(limit)" }"#),
      keeping: [stub])
    let load = Load(martlet, clients: 2, keepsAlive: false)
    defer { load.stop() }
    try installed.replace(with: script)
    let result = try installed.upgrade()
    #expect(result.status == 70)
    #expect(result.errors.contains("process \(martlet.process.id) continues"))
    #expect(martlet.log.contains("the upgrade failed"), "\(martlet.log)")
    #expect(martlet.log.contains(reason), "\(martlet.log)")
    _ = load.nextAnswers(20)
    #expect(load.stop().errors == [])
    try installed.replace(with: #"exec "$real" "$@""#)
    try martlet.reload(installed.configuration(backends: [stub]))
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    #expect(try martlet.process.waitForExit() == 0)
    #expect(try martlet.get().text == "hello")
  }

  @Test func `a configuration that can't be served is refused with its reason`() throws {
    let stub = try StubBackend("hello")
    let taken = try Listening()
    let installed = try Installed()
    let martlet = try installed.start(installed.configuration(backends: [stub]), keeping: [stub])
    try installed.folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }, { "listen": "127.0.0.1:\(taken.port)" }],
        "pools": [{ "backends": [\(stub.json)] }], "process": { "pid-file": "pid" } }
      """, to: "config.json")
    #expect(try installed.upgrade().status == 70)
    let reason = "the new process does not serve: can't listen on 127.0.0.1:\(taken.port)"
    #expect(martlet.log.contains(reason), "\(martlet.log)")
    #expect(try martlet.get().text == "hello")
    withExtendedLifetime(taken) {}
  }

  @Test func `a binary that can't be started is reported with the reason`() throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let martlet = try installed.start(installed.configuration(backends: [stub]), keeping: [stub])
    try installed.replace(with: "")
    chmod(installed.binary, 0o600)
    #expect(try installed.upgrade().status == 70)
    #expect(martlet.log.contains("the new process can't be started: Permission denied"))
    #expect(try martlet.get().text == "hello")
  }

  @Test func `new processes with more workers that fail reset no connection`() throws {
    let stub = try StubBackend("hello")
    let taken = try Listening()
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(backends: [stub], rest: #""workers": 1"#), keeping: [stub])
    let load = Load(martlet, clients: 4, keepsAlive: false)
    defer { load.stop() }
    try installed.folder.write(
      installed.configuration(
        backends: [stub],
        rest: #""workers": 8, "admin": { "listen": "127.0.0.1:\#(taken.port)" }"#),
      to: "config.json")
    for _ in 0..<5 {
      #expect(try installed.upgrade().status == 70)
      _ = load.nextAnswers(20)
    }
    #expect(load.stop().errors == [])
    // The serving process still has the admin socket.
    let status = try run(
      [Installation.binary, "status", "--socket", installed.folder.path("admin.sock")])
    #expect(status.status == 0, "\(status.errors)")
  }

  @Test func `the admin interface stays where it is, and no request to it is lost`() throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(
        backends: [stub], rest: #""admin": { "listen": "127.0.0.1:0" }"#), keeping: [stub])
    let port = try martlet.adminPort()
    for _ in 0..<2 {
      #expect(try installed.upgrade().status == 0, "\(martlet.log)")
      #expect(try Wire(port: port).get("/readyz").status == 200)
    }
    #expect(try martlet.process.waitForExit() == 0)
    #expect(try Wire(port: port).get("/readyz").status == 200)
  }

  // MARK: Changes meanwhile

  @Test func `changes of operators are refused during an upgrade`() throws {
    let (stub, other) = (try StubBackend("hello"), try StubBackend("other"))
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(backends: [stub, other]), keeping: [stub, other])
    func command(_ arguments: String...) throws -> CommandResult {
      try run(
        [Installation.binary] + arguments
          + ["default/\(stub.address)", "--socket", installed.folder.path("admin.sock")])
    }
    try installed.replace(
      with: #"while [[ ! -e "${0%/*}/go" ]]; do sleep 0.01; done; exit 1"#)
    martlet.signal(SIGUSR2)
    eventually("it begins") { martlet.log.contains("upgrading: started the new process") }
    let drain = try command("drain")
    #expect(drain.status != 0 && drain.errors.contains("not while upgrading"), "\(drain)")
    #expect(try Set([martlet.get().text, martlet.get().text]) == ["hello", "other"])
    // A change to the current state is accepted.
    #expect(try command("enable").status == 0)
    try installed.folder.write("", to: "go")
    eventually("it has failed") { martlet.log.contains("the upgrade failed") }
    #expect(try command("drain").status == 0)
    for _ in 0..<4 { #expect(try martlet.get().text == "other") }
  }

  // MARK: Signals meanwhile

  @Test func `a second upgrade is refused and a reload waits while one is under way`() throws {
    let stub = try StubBackend("hello")
    let new = try StubBackend("new")
    let installed = try Installed()
    let martlet = try installed.start(
      installed.configuration(backends: [stub]), keeping: [stub, new])
    try installed.replace(
      with: #"while [[ ! -e "${0%/*}/go" ]]; do sleep 0.01; done; exit 1"#)
    martlet.signal(SIGUSR2)
    eventually("it begins") { martlet.log.contains("upgrading: started") }
    martlet.signal(SIGUSR2)
    eventually("it says so") { martlet.log.contains("already in progress") }
    try installed.folder.write(installed.configuration(backends: [new]), to: "config.json")
    martlet.signal(SIGHUP)
    // Signals are handled in order: once this one has been handled, so has the first.
    martlet.signal(SIGUSR2)
    eventually("it says so again") {
      martlet.log.components(separatedBy: "already in progress").count == 3
    }
    #expect(try martlet.get().text == "hello")
    try installed.folder.write("", to: "go")
    eventually("the reload comes after all") {
      martlet.log.contains("the new configuration is in force")
    }
    eventually("it serves") { (try? martlet.get().text) == "new" }
  }

  @Test func `SIGTERM during an upgrade ends both`() throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let martlet = try installed.start(installed.configuration(backends: [stub]), keeping: [stub])
    try installed.replace(with: #"echo $$ > "${0%/*}/child"; exec sleep 600"#)
    martlet.signal(SIGUSR2)
    var child: pid_t = 0
    eventually("it begins") {
      child = pid_t(installed.folder.read("child").dropLast()) ?? 0
      return child > 1
    }
    martlet.signal(SIGTERM)
    #expect(try martlet.process.waitForExit() == 0)
    eventually("the other ends as well") { !isAlive(child) }
    #expect(installed.folder.read("pid") == "")
  }

  // MARK: The command

  @Test func `the command reports that no process is running`() throws {
    let folder = TemporaryFolder()
    try folder.write(
      #"{ "pools": [{ "backends": ["127.0.0.1:1"] }] }"#, to: "config.json")
    func said(_ arguments: String...) throws -> String {
      let result = try run([Installation.binary, "upgrade"] + arguments, in: folder.path)
      #expect(result.status == 70)
      return result.errors
    }
    #expect(try said().contains("the configuration has no process.pid-file"))
    #expect(try said("--pid-file", "pid").contains("pid contains no process ID"))
    // Above the largest process id on Linux.
    try folder.write("4194305\n", to: "pid")
    #expect(try said("--pid-file", "pid").contains("No such process"))
    #expect(try said("4194305").contains("can't signal process 4194305"))
  }
}
