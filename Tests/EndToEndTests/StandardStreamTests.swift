// The standard streams of a process as containers, systemd and scripts provide them: closed, a
// socket, a pipe, a pipe whose reader has stopped, and log files that are links to them.

import Foundation
import Testing

@Suite(.serialized) struct StandardStreamTests {
  private func configuration(_ stub: StubBackend, _ log: String, _ rest: String = "") -> String {
    """
    { "listeners": [{ "listen": "127.0.0.1:0", "name": "web" }],
      "pools": [{ "backends": [\(stub.json)], "health": "off" }], "watch": false,
      "log": { \(log) }\(rest) }
    """
  }

  /// A command that becomes Martlet with `stream` (1 or 2) as a pipe or a socket. Its output is
  /// appended to the file `copy` and to the previous stream. This stops while the file `stop`
  /// exists.
  private func relaying(_ stream: Int, through kind: String) -> [String] {
    let launcher = """
      import os, socket, sys, time
      kept = os.dup(\(stream))
      if "\(kind)" == "pipe":
          ours, theirs = os.pipe()
      else:
          ours, theirs = (end.detach() for end in socket.socketpair())
      if os.fork() == 0:
          os.close(theirs)
          os.dup2(kept, 1)
          os.dup2(kept, 2)
          with open("copy", "ab", buffering=0) as file:
              while True:
                  while os.path.exists("stop"):
                      time.sleep(0.01)
                  data = os.read(ours, 65536)
                  if not data:
                      break
                  file.write(data)
                  os.write(kept, data)
          os._exit(0)
      os.dup2(theirs, \(stream))
      os.close(theirs)
      os.close(ours)
      os.close(kept)
      os.execv(sys.argv[1], sys.argv[1:])
      """
    return ["python3", "-c", launcher]
  }

  private func stop(_ martlet: MartletProcess) throws { try martlet.folder.write("", to: "stop") }

  private func goOn(_ martlet: MartletProcess) throws {
    try FileManager.default.removeItem(atPath: martlet.folder.path("stop"))
  }

  private func admin(_ martlet: MartletProcess, _ arguments: String...) throws -> CommandResult {
    try run(
      [
        "curl", "-sS", "--max-time", "20", "--unix-socket", martlet.folder.path("admin.sock"),
      ] + arguments)
  }

  // MARK: Closed

  @Test func `a stream that is closed at the start is /dev/null, and no file of Martlet's`() throws
  {
    let folder = TemporaryFolder()
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["127.0.0.1:1"] }] }
      """, to: "config.json")
    let process = try MartletProcess.start(
      ["run"], in: folder, wrapper: ["sh", "-c", #"exec "$@" <&- >&- 2>&-"#, "sh"])
    try eventually("it runs") {
      try run(
        [Installation.binary, "status", "--socket", folder.path("admin.sock")], in: folder.path
      ).status == 0
    }
    for stream in 0...2 {
      let target = try FileManager.default.destinationOfSymbolicLink(
        atPath: "/proc/\(process.id)/fd/\(stream)")
      #expect(target == "/dev/null")
    }
    process.signal(SIGTERM)
    #expect(try process.waitForExit() == 0)
  }

  // MARK: Links

  /// As in the images of nginx, where the log files are links to the streams.
  @Test(arguments: ["pipe", "socket"], [1, 2])
  func `a log file that is a link to a stream goes there, whatever the stream is`(
    _ kind: String, _ stream: Int
  ) throws {
    let stub = try StubBackend()
    let folder = TemporaryFolder()
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("access.log"),
      withDestinationPath: stream == 1 ? "/dev/stdout" : "/dev/stderr")
    let martlet = try MartletProcess(
      configuration(stub, #""target": "access.log""#), in: folder,
      wrapper: relaying(stream, through: kind), keeping: [stub])
    _ = try martlet.get("/one")
    eventually("it is logged") { folder.read("copy").contains("/one") }
    // For rotation, and by a reload.
    martlet.signal(SIGUSR1)
    try martlet.reload(configuration(stub, #""target": "access.log", "access": "$target""#))
    try eventually("it is logged") {
      _ = try martlet.get("/two")
      return folder.read("copy").contains("\n/two\n")
    }
    #expect(!martlet.log.contains("can't be opened"))
  }

  @Test func `check takes such a link as well`() throws {
    let folder = TemporaryFolder()
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("access.log"), withDestinationPath: "/dev/stdout")
    try folder.write(
      """
      { "listeners": [{ "listen": "127.0.0.1:0" }], "pools": [{ "backends": ["127.0.0.1:1"] }],
        "log": { "target": "access.log" } }
      """, to: "config.json")
    for kind in ["pipe", "socket"] {
      let result = try run(
        relaying(1, through: kind) + [Installation.binary, "check"], in: folder.path)
      #expect(result.status == 0, "\(result.errors)")
    }
  }

  // MARK: A reader that stops

  @Test(arguments: ["pipe", "socket"])
  func `while nothing reads the access log, requests are served and lines are counted`(
    _ kind: String
  ) throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      configuration(stub, #""target": "stdout""#), ["--workers", "1"],
      wrapper: relaying(1, through: kind), keeping: [stub])
    try stop(martlet)
    // A line of 8 KiB each: more than the stream and the ring of 1 MiB hold.
    let long = String(repeating: "x", count: 7000)
    let wire = try martlet.wire()
    for number in 0..<400 {
      let answer = try wire.exchange("GET /\(number)/\(long) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(answer.status == 200)
    }
    let metrics = try admin(martlet, "http://localhost/metrics").output
    let dropped = metrics.firstMatch(of: #/\nmartlet_access_log_lines_dropped_total (\d+)/#)
    #expect(dropped.flatMap { Int($0.1) } ?? 0 > 0, "\(metrics.suffix(3000))")
    eventually("it is said") { martlet.log.contains("nothing reads the access log") }

    // Orders are still carried out: for rotation, and to write to another target.
    martlet.signal(SIGUSR1)
    try martlet.reload(configuration(stub, #""target": "other.log""#))
    try eventually("it is logged in the other file") {
      _ = try martlet.get("/other")
      return martlet.folder.read("other.log").contains("\"/other\"")
    }
    try martlet.reload(configuration(stub, #""target": "stdout""#))
    try goOn(martlet)
    try eventually("the reader is back") {
      _ = try martlet.get("/back")
      return martlet.folder.read("copy").contains("\"/back\"")
    }
    // Each line is whole.
    for line in martlet.folder.read("copy").split(separator: "\n") where line.hasPrefix("{") {
      #expect(line.hasSuffix("}"))
    }
    #expect(try martlet.terminate() == 0)
  }

  @Test func `a process stops even if nothing reads its access log`() throws {
    let stub = try StubBackend()
    let martlet = try MartletProcess(
      configuration(stub, #""target": "stdout""#), ["--workers", "1"],
      wrapper: relaying(1, through: "pipe"), keeping: [stub])
    try stop(martlet)
    let wire = try martlet.wire()
    let long = String(repeating: "x", count: 7000)
    for _ in 0..<20 {
      _ = try wire.exchange("GET /\(long) HTTP/1.1\r\nHost: a\r\n\r\n")
    }
    #expect(try martlet.terminate() == 0)
  }

  @Test(arguments: ["pipe", "socket"])
  func `while nothing reads the standard error, Martlet serves and reloads`(
    _ kind: String
  ) throws {
    let stub = try StubBackend()
    let good = configuration(stub, #""target": "access.log""#)
    let martlet = try MartletProcess(good, wrapper: relaying(2, through: kind), keeping: [stub])
    try stop(martlet)
    // Each refusal is a hundred lines, so that a few of them fill the stream.
    let unknown = (0..<100).map { #""unknown-key-number-\#($0)": 1"# }.joined(separator: ", ")
    try martlet.folder.write("{ \(unknown) }", to: "config.json")
    for _ in 0..<30 {
      let answer = try admin(martlet, "-X", "POST", "http://localhost/v1/reload")
      #expect(answer.status == 0 && answer.output.contains("refused"), "\(answer.errors)")
    }
    #expect(try martlet.get().status == 200)
    try martlet.folder.write(good, to: "config.json")
    let answer = try admin(martlet, "-X", "POST", "http://localhost/v1/reload")
    #expect(answer.output.contains("accepted"), "\(answer.output)\(answer.errors)")

    try goOn(martlet)
    eventually("it says that it was kept from saying something") {
      // The next line reports it.
      _ = try? admin(martlet, "-X", "POST", "http://localhost/v1/reload")
      return martlet.folder.read("copy").contains(
        "messages were dropped, since nothing read the standard error\n")
    }
    #expect(try martlet.terminate() == 0)
  }
}
