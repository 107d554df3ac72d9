// `martlet upgrade`: tells the running process to start the installed binary and to pass on its
// sockets (Server+Upgrade), and waits for the result.

import ArgumentParser
import Configuration
import Primitives
import Reactor

struct Upgrade: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Upgrade the running binary without refusing connections.",
    discussion: """
      The running process starts the file that is now at the path of its binary, and gives the \
      listening sockets to the new process. When the new process serves, the old one closes its \
      idle connections, and exits when its active requests have ended, or after limits.drain. A \
      WebSocket counts as active. If the new process fails, the old one continues, and logs the \
      reason.

      By default the command reads the process ID from process.pid-file of the configuration, or \
      from --pid-file. Then it sends SIGUSR2 and waits for the result. If you give a process ID, \
      it only sends SIGUSR2 and does not wait.

      EXAMPLES
        martlet upgrade
        martlet upgrade --pid-file /run/martlet/martlet.pid
        martlet upgrade 1234

      The exit status is 0 if a new process serves, and 70 if the old one continues. With a \
      process ID, it is 0 if the signal was sent.
      """)

  @Argument(help: ArgumentHelp("The ID of the running process.", valueName: "process"))
  var process: Int32?

  @Option(
    help: ArgumentHelp("The file with the ID of the running process.", valueName: "file"))
  var pidFile: String?

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The configuration file from which to read process.pid-file. Default: config.json.",
      valueName: "file"))
  var config: String?

  /// Slightly more than the maximum of `limits.upgrade`.
  private static let longestWait = TimeSpan.seconds(3610)

  func run() throws {
    if let process { return try ask(process) }
    let path = try pidFile ?? configuredPath()
    guard let before = PIDFile(at: path) else {
      throw failure("\(path) contains no process ID; is Martlet running?")
    }
    try ask(before.process)
    guard let after = before.replacement(at: path, within: Self.longestWait) else {
      throw failure("process \(before.process) has ended, and no other process has taken over")
    }
    if after == before.process {
      throw failure("the upgrade failed: process \(after) continues; see its log for the reason")
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
    if file == nil {
      throw failure(
        "there is no configuration; give the process ID, --pid-file, or --config with a"
          + " process.pid-file")
    }
    let configuration = try accept(Configuration.read(file?.bytes, file: file?.path ?? ""))
    guard let path = configuration.process.pidFile else {
      throw failure(
        "the configuration has no process.pid-file; give the process ID or --pid-file")
    }
    return path
  }

  private func failure(_ message: String) -> ExitCode {
    writeError("martlet: error: \(message)\n")
    return ExitCode(70)
  }
}

/// A file with a process ID, as it was at one moment.
private struct PIDFile {
  let process: Int32
  /// Different each time the file is written.
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

  /// Waits until the file is written again, and returns the ID in it; nil if the process ends
  /// before.
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
