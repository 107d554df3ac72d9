// `martlet drain`: stops new requests and connections to a backend, and optionally waits for the
// active ones. The last available backend of a pool needs a confirmation.

import ArgumentParser
import Configuration
import Primitives
import Reactor
import Server

struct Drain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Drain a backend: send it no new requests, and let active ones finish.",
    discussion: """
      The backend stays drained until `martlet enable`, even after reloads and upgrades. With \
      --wait the command returns when the backend has no active requests (exchanges) left. Then \
      you can stop the backend. An open WebSocket, or a connection of a TCP listener, counts as \
      active. If requests are still active after --timeout, the exit status is 70, and the backend \
      stays drained.

      If no other backend of the pool is available, the command asks for confirmation. If you \
      answer no, or if there is no terminal (in a script), the backend is not drained, and the \
      exit status is 69. With --force the command does not ask, and drains the backend.

      EXAMPLES
        martlet drain app/10.0.0.11:8080
        martlet drain --wait --timeout 5m app/10.0.0.11:8080
      """)

  /// EX_UNAVAILABLE of sysexits.h.
  private static let refused = ExitCode(69)

  @OptionGroup var admin: AdminOptions

  @Argument(
    help: ArgumentHelp("The backend, such as app/10.0.0.11:8080.", valueName: "pool/backend"),
    transform: BackendName.init)
  var backend: BackendName

  @Flag(help: "Wait until the backend has no active requests.")
  var wait = false

  @Option(
    help: ArgumentHelp(
      "Stop waiting after this time, such as 5m. Default: no limit.", valueName: "duration"))
  var timeout: String?

  @Flag(help: "Drain the backend even if it is the last available one of its pool.")
  var force = false

  func validate() throws {
    guard let timeout else { return }
    if !wait { throw ValidationError("--timeout requires --wait") }
    if Configuration.duration(timeout) == nil {
      throw ValidationError("'\(timeout)' is not a duration; write one such as 30s or 5m")
    }
  }

  func run() throws {
    let end = timeout.flatMap(Configuration.duration).map { SystemClock.monotonic() + $0 }
    var left = try begin()
    while wait && left.count > 0 {
      if let end, SystemClock.monotonic() >= end {
        writeError(
          "martlet: error: \(backend) still has \(left.text); it stays drained\n")
        throw ExitCode(70)
      }
      CurrentProcess.pause(.milliseconds(200))
      // The backend is already drained, so this changes nothing.
      left = Active(try admin.body(of: drain(isForced: true)))
    }
    writeOutput("\(backend) is draining; \(left.text)\n")
  }

  /// Drains the backend, with a confirmation if necessary. Returns what is active there.
  private func begin() throws -> Active {
    let response = try drain(isForced: force)
    let reply = AdminReply(response.body)
    guard response.status == 409, let reply, reply["needs"]?.text == "force" else {
      return Active(try admin.body(of: response))
    }
    let reason = reply["error"]?.text ?? ""
    guard CurrentProcess.hasTerminal else {
      writeError("martlet: error: \(reason); use --force to drain it\n")
      throw Self.refused
    }
    writeError("\(reason). Drain it? [y/N] ")
    guard let line = readLine(), ["y", "yes"].contains(line.lowercased()) else {
      writeError("martlet: \(backend) is not drained\n")
      throw Self.refused
    }
    return Active(try admin.body(of: drain(isForced: true)))
  }

  private func drain(isForced: Bool) throws -> BlockingClient.Response {
    try admin.send(
      "PATCH", backend.path, body: "{\"state\": \"draining\", \"force\": \(isForced)}")
  }

  /// The exchanges on a backend: requests, or connections of a TCP listener.
  private struct Active {
    let count: Int
    private let noun: String

    init(_ answer: [UInt8]) {
      let reply = AdminReply(answer)
      count = reply?["active"].flatMap { Int($0.text) } ?? 0
      noun = reply?["carries"]?.text ?? "requests"
    }

    var text: String { "\(count) active \(count == 1 ? String(noun.dropLast()) : noun)" }
  }
}
