// Running under systemd: notifications (sd_notify) and socket activation.

import Foundation
import Testing

@Suite(.serialized) struct ServiceTests {
  // MARK: Notifications

  @Test func `systemd is notified when Martlet serves, reloads and stops`() throws {
    let stub = try StubBackend("hello")
    let folder = TemporaryFolder()
    let supervisor = try Supervisor(folder.path("notify"))
    let configuration = MartletProcess.configuration(backends: [stub])
    let martlet = try MartletProcess(
      configuration, in: folder, environment: supervisor.environment, keeping: [stub])
    #expect(supervisor.next() == ["READY=1"])
    for text in [configuration, "{"] {
      let before = clock()
      try martlet.reload(text)
      let reloading = supervisor.next()
      #expect(reloading.first == "RELOADING=1")
      let time = reloading.last?.split(separator: "=")
      #expect(time?.first == "MONOTONIC_USEC")
      let microseconds = time?.last.flatMap { UInt64($0) } ?? 0
      #expect(microseconds >= before && microseconds <= clock())
      #expect(supervisor.next() == ["READY=1"])
    }
    #expect(try martlet.terminate() == 0)
    #expect(supervisor.next() == ["STOPPING=1"])
    #expect(supervisor.isQuiet)
  }

  @Test func `at an upgrade the old process names the new one, which notifies later`() throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let supervisor = try Supervisor("@martlet-\(UInt64.random(in: 0 ... .max))")
    let martlet = try installed.start(
      installed.configuration(backends: [stub]), environment: supervisor.environment,
      keeping: [stub])
    #expect(supervisor.next() == ["READY=1"])
    #expect(try installed.upgrade().status == 0, "\(martlet.log)")
    let successor = installed.servingProcess
    #expect(supervisor.next() == ["MAINPID=\(successor)", "READY=1"])
    #expect(try martlet.process.waitForExit() == 0)
    // For systemd the service continues, so the end of the old process is not reported.
    #expect(supervisor.isQuiet)
    kill(successor, SIGTERM)
    #expect(supervisor.next() == ["STOPPING=1"])
    eventually("it ends") { !isAlive(successor) }
  }

  @Test func `a failed upgrade is not notified`() throws {
    let stub = try StubBackend("hello")
    let installed = try Installed()
    let supervisor = try Supervisor(installed.folder.path("notify"))
    let martlet = try installed.start(
      installed.configuration(backends: [stub]), environment: supervisor.environment,
      keeping: [stub])
    #expect(supervisor.next() == ["READY=1"])
    try installed.replace(with: "exit 1")
    #expect(try installed.upgrade().status == 70)
    #expect(supervisor.isQuiet)
    #expect(try martlet.terminate() == 0)
    #expect(supervisor.next() == ["STOPPING=1"])
  }

  @Test func `Martlet serves even if its supervisor is gone`() throws {
    let stub = try StubBackend("hello")
    let folder = TemporaryFolder()
    let martlet = try MartletProcess(
      MartletProcess.configuration(backends: [stub]), in: folder,
      environment: ["NOTIFY_SOCKET": folder.path("nobody")], keeping: [stub])
    #expect(try martlet.get().text == "hello")
    #expect(martlet.log.contains("can't notify systemd (NOTIFY_SOCKET)"))
  }

  /// Microseconds of the clock that systemd compares with.
  private func clock() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000
  }

  // MARK: Sockets

  private func launch(
    _ names: String, _ families: String, in folder: TemporaryFolder,
    environment: [String: String] = [:]
  ) throws -> ChildProcess {
    try ChildProcess(
      ["python3", "-c", activatingLauncher, names, families, Installation.binary, "run"],
      in: folder.path, environment: environment)
  }

  private func ports(in folder: TemporaryFolder) -> [Int] {
    folder.read("ports").split(separator: "\n").compactMap { Int($0) }
  }

  /// More workers than sockets: they share sockets.
  @Test func `sockets from systemd are found by address or by the listener's name`() throws {
    let stub = try StubBackend("hello")
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [
          { "listen": "127.0.0.1:PORT0" }, { "name": "web", "listen": "127.0.0.1:0" }],
        "pools": [{ "backends": [\(stub.json)] }], "workers": 3, "log": { "access": "off" } }
      """, to: "config.json")
    let martlet = try launch("martlet.socket:web:other", "v4,v4,v4", in: folder)
    // Clients wait in the sockets' queue until the service runs: that is their purpose.
    eventually("the sockets are open") { self.ports(in: folder).count == 3 }
    let ports = self.ports(in: folder)
    for port in ports[..<2] {
      for _ in 0..<30 { #expect(try Wire(port: port).get().text == "hello") }
    }
    eventually("nobody listens on the third") { (try? Wire(port: ports[2])) == nil }
    #expect(
      martlet.errorText.contains(
        "(socket activation): no listener uses it address=\"127.0.0.1:\(ports[2])"),
      "\(martlet.errorText)")
    martlet.signal(SIGTERM)
    #expect(try martlet.waitForExit() == 0)
  }

  @Test func `sockets that are meant for another process are ignored`() throws {
    let stub = try StubBackend("hello")
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:PORT0" }],
        "pools": [{ "backends": [\(stub.json)] }] }
      """, to: "config.json")
    let martlet = try launch("web", "v4", in: folder, environment: ["WRONG_PID": "1"])
    #expect(try martlet.waitForExit() == 70)
    #expect(martlet.errorText.contains("Address already in use"))
  }

  @Test func `a socket for both IP versions is refused with advice`() throws {
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "[::]:PORT0" }], "pools": [{ "backends": ["127.0.0.1:1"] }] }
      """, to: "config.json")
    let martlet = try launch("web", "dual", in: folder)
    #expect(try martlet.waitForExit() == 70)
    #expect(martlet.errorText.contains("set BindIPv6Only=ipv6-only"), "\(martlet.errorText)")
  }
}
