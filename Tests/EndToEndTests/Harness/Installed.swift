// A copy of the binary that is replaced while it runs, for upgrades.
//
// New processes are children of children, known only by their id. They are ended with this object.

import Foundation
import Synchronization

final class Installed: Sendable {
  let folder = TemporaryFolder()
  private let successors = Mutex<[pid_t]>([])

  var binary: String { folder.path("martlet") }

  init() throws {
    try FileManager.default.createSymbolicLink(
      atPath: binary, withDestinationPath: Installation.binary)
  }

  deinit { successors.withLock { for id in $0 { kill(id, SIGKILL) } } }

  /// Installs a shell script instead; `$real` is the real binary. Another process writes it: a
  /// child that is being started at the same time has copies of our open files for a moment, and a
  /// file that is open for writing can't be executed (ETXTBSY).
  func replace(with script: String) throws {
    let result = try run(
      ["sh", "-c", "cat > fresh && chmod 755 fresh && mv fresh martlet"], in: folder.path,
      input: "#!/bin/bash\nreal='\(Installation.binary)'\n\(script)\n")
    guard result.status == 0 else { throw HarnessError(result.errors) }
  }

  func remove() { unlink(binary) }

  /// A configuration with which Martlet writes its id to this folder.
  func configuration(
    backends: [any ConfiguredBackend], pool: String = "", listener: String = "", rest: String = ""
  ) -> String {
    MartletProcess.configuration(
      backends: backends, pool: pool, listener: listener,
      rest: #""process": { "pid-file": "pid" }"# + (rest.isEmpty ? "" : ", " + rest))
  }

  func start(
    _ configuration: String, environment: [String: String] = [:],
    keeping kept: [any Sendable] = []
  ) throws -> MartletProcess {
    try MartletProcess(
      configuration, in: folder, binary: binary, environment: environment, keeping: kept + [self])
  }

  /// The process id in the file; 0 when there is none.
  var servingProcess: pid_t {
    pid_t(folder.read("pid").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
  }

  /// Runs `martlet upgrade`, and records the new process.
  @discardableResult
  func upgrade() throws -> CommandResult {
    let result = try run([Installation.binary, "upgrade"], in: folder.path)
    note(servingProcess)
    return result
  }

  func note(_ id: pid_t) { successors.withLock { $0.append(id) } }
}

/// Whether a process exists and is no zombie.
func isAlive(_ id: pid_t) -> Bool {
  guard let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
    let state = text.split(separator: ")").last?.split(separator: " ").first
  else { return false }
  return state != "Z"
}
