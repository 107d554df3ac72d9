// `martlet upgrade`: asks the running process to hand over to the binary that is installed now, and
// waits to see who serves afterwards. The work is done there (Server+Upgrade).

import ArgumentParser
import Configuration
import Primitives
import Reactor

struct Upgrade: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Replace the running binary without a gap.",
    discussion: """
      The running process starts a new one by the path by which it was started itself, and hands \
      its listening sockets over. When the new one serves, the old one finishes what it has under \
      way and ends; if the new one fails, the old one goes on, and its log says why. It is the \
      same as SIGUSR2, except that this command waits for the outcome.

      The process is found by its id, else by --pid-file, else by the configuration's \
      process.pid-file.

      EXAMPLES
        martlet upgrade
        martlet upgrade --pid-file /run/martlet/martlet.pid
        martlet upgrade 1234

      Ends with 0 when a new process serves, with 70 when the old one goes on. Given only an id, \
      it can't tell, and doesn't wait.
      """)

  @Argument(help: ArgumentHelp("The id of the running process.", valueName: "process"))
  var process: Int32?

  @Option(
    help: ArgumentHelp("The file that the running process wrote its id to.", valueName: "file"))
  var pidFile: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The configuration file whose process.pid-file is meant. By default config.json.",
      valueName: "file"))
  var config: String?

  /// Somewhat more than the longest that `limits.upgrade` allows.
  private static let longestWait = TimeSpan.seconds(3610)

  func run() throws {
    if let process { return try ask(process) }
    let path = try pidFile ?? configuredPath()
    guard let before = PIDFile(at: path) else {
      throw failure("\(path) holds no process id: is Martlet running?")
    }
    try ask(before.process)
    guard let after = before.replacement(at: path, within: Self.longestWait) else {
      throw failure("process \(before.process) is gone, and no other has taken over")
    }
    if after == before.process {
      throw failure("process \(after) goes on as it was; its log says why")
    }
    writeOutput("process \(after) has taken over from \(before.process)\n")
  }

  private func ask(_ process: Int32) throws {
    do throws(SystemError) {
      try CurrentProcess.send(.user2, to: process)
    } catch {
      throw failure("can't signal process \(process): \(error)")
    }
  }

  private func configuredPath() throws -> String {
    let file = try ConfigurationFile.find(config)
    let configuration = try accept(Configuration.read(file?.bytes, file: file?.path ?? ""))
    guard let path = configuration.process.pidFile else {
      throw failure("name the process, or its file: the configuration has no process.pid-file")
    }
    return path
  }

  private func failure(_ message: String) -> ExitCode {
    writeError("martlet: error: \(message)\n")
    return ExitCode(70)
  }
}

/// A file with a process id, as it was at one moment.
private struct PIDFile {
  let process: Int32
  /// Differs for each time that the file was written.
  private let version: FileVersion

  init?(at path: String) {
    guard let version = FileVersion(of: path),
      let bytes = try? File.read(path, limit: 64),
      let process = Int32(String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }),
      process > 1
    else { return nil }
    self.process = process
    self.version = version
  }

  /// Waits until the file has been written anew, and returns whose id stands there; nil when the
  /// process ends before that.
  func replacement(at path: String, within limit: TimeSpan) -> Int32? {
    let end = SystemClock.monotonic() + limit
    while SystemClock.monotonic() < end {
      let isAlive = CurrentProcess.exists(process)
      if let now = PIDFile(at: path), now.version != version { return now.process }
      if !isAlive { return nil }
      CurrentProcess.pause(.milliseconds(20))
    }
    return process
  }
}
