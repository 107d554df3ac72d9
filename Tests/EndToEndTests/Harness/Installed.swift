// A binary at a place of its own, that is replaced while it runs: what an upgrade is for.
//
// The processes that take over are children of children, known by their id alone. They are ended
// with this.

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

  /// Puts a shell script there; `$real` is the binary itself. It is written by another process: a
  /// child that is started here meanwhile has this one's open files for a moment, and what anybody
  /// has open for writing can't be run (ETXTBSY).
  func replace(with script: String) throws {
    let result = try run(
      ["sh", "-c", "cat > fresh && chmod 755 fresh && mv fresh martlet"], in: folder.path,
      input: "#!/bin/bash\nreal='\(Installation.binary)'\n\(script)\n")
    guard result.status == 0 else { throw HarnessError(result.errors) }
  }

  func remove() { unlink(binary) }

  /// The configuration of a Martlet that leaves its id in this folder.
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

  /// The id in the file; 0 when there is none.
  var servingProcess: pid_t {
    pid_t(folder.read("pid").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
  }

  /// Runs `martlet upgrade`, and notes who serves then.
  @discardableResult
  func upgrade() throws -> CommandResult {
    let result = try run([Installation.binary, "upgrade"], in: folder.path)
    note(servingProcess)
    return result
  }

  func note(_ id: pid_t) { successors.withLock { $0.append(id) } }
}

/// Whether a process is there and not merely waiting to be buried.
func isAlive(_ id: pid_t) -> Bool {
  guard let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
    let state = text.split(separator: ")").last?.split(separator: " ").first
  else { return false }
  return state != "Z"
}
