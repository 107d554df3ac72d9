// Steering a running Martlet: `drain`, `enable`, `set-weight`, `log-level`, `reload`.

import ArgumentParser
import Configuration
import Primitives
import Reactor
import Server

struct Drain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take a backend out: no new exchanges, those under way go on.",
    discussion: """
      It lasts until `martlet enable`, also over reloads and upgrades. With --wait the command \
      ends when the last exchange there has, so that the backend can be stopped behind it; \
      an open WebSocket is one. It ends with 70 if some are left after --timeout.

      EXAMPLES
        martlet drain app/10.0.0.11:8080
        martlet drain --wait --timeout 5m app/10.0.0.11:8080 && ssh 10.0.0.11 systemctl restart app
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(help: ArgumentHelp("The backend.", valueName: "pool/backend"))
  var backend: BackendName

  @Flag(help: "End when no exchange is left there.")
  var wait = false

  @Option(
    help: ArgumentHelp(
      "The longest wait, such as 5m; without end by default.", valueName: "duration"))
  var timeout: String?

  func validate() throws {
    guard let timeout else { return }
    if !wait { throw ValidationError("--timeout goes with --wait") }
    if Configuration.duration(timeout) == nil {
      throw ValidationError("'\(timeout)' is no duration: write one such as 30s or 5m")
    }
  }

  func run() throws {
    let end = timeout.flatMap(Configuration.duration).map { SystemClock.monotonic() + $0 }
    var left = try change(backend, "{\"state\": \"draining\"}", admin)
    while wait && left > 0 {
      if let end, SystemClock.monotonic() >= end {
        writeError("martlet: error: \(backend) still has \(left) under way\n")
        throw ExitCode(70)
      }
      CurrentProcess.pause(.milliseconds(200))
      left = try change(backend, "{\"state\": \"draining\"}", admin)
    }
    writeOutput("\(backend) takes no new exchanges; \(left) under way\n")
  }
}

struct Enable: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Use a backend again that was drained.")

  @OptionGroup var admin: AdminOptions

  @Argument(help: ArgumentHelp("The backend.", valueName: "pool/backend"))
  var backend: BackendName

  func run() throws {
    _ = try change(backend, "{\"state\": \"enabled\"}", admin)
    writeOutput("\(backend) is used again\n")
  }
}

struct SetWeight: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Give a backend another share than the configured one.",
    discussion: """
      It lasts until it is set to `configured`, also over reloads.

      EXAMPLES
        martlet set-weight app/10.0.0.11:8080 1
        martlet set-weight app/10.0.0.11:8080 configured
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(help: ArgumentHelp("The backend.", valueName: "pool/backend"))
  var backend: BackendName

  @Argument(help: ArgumentHelp("1 to 256, or `configured`.", valueName: "weight"))
  var weight: String

  func validate() throws {
    if weight != "configured" && !(Int(weight).map { (1...256).contains($0) } ?? false) {
      throw ValidationError("'\(weight)' is no weight: write 1 to 256, or 'configured'")
    }
  }

  func run() throws {
    let value = weight == "configured" ? "null" : weight
    _ = try change(backend, "{\"weight\": \(value)}", admin)
    writeOutput("\(backend) has the weight \(weight)\n")
  }
}

struct SetLogLevel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log-level",
    abstract: "Show or change which messages of the process log are shown.",
    discussion: """
      It lasts until the next reload, which puts the file's `log.level` into force.

      EXAMPLES
        martlet log-level
        martlet log-level debug
        martlet log-level configured
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(
    help: ArgumentHelp("debug, info, warning, error, or `configured`.", valueName: "level"))
  var level: String?

  private static let levels = Configuration.Log.Level.allCases.map(\.rawValue) + ["configured"]

  func validate() throws {
    if let level, !Self.levels.contains(level) {
      throw ValidationError(
        "'\(level)' is no level: write one of \(Self.levels.joined(separator: ", "))")
    }
  }

  func run() throws {
    let answer =
      if let level {
        try admin.ask(
          "PUT", "/v1/log-level",
          body: level == "configured" ? "{\"level\": null}" : "{\"level\": \"\(level)\"}")
      } else {
        try admin.ask("GET", "/v1/log-level")
      }
    for (name, value) in Configuration.simpleMembers(ofJSON: answer) ?? [] {
      if name == "level", case .text(let level) = value { writeOutput("\(level)\n") }
    }
  }
}

struct Reload: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Take up the configuration file anew, and say how that went.",
    discussion: """
      The same as SIGHUP, except that this command waits for the outcome. A file with a mistake \
      changes nothing.

      Ends with 0 when the new configuration is in force, with 70 when it was refused.
      """)

  @OptionGroup var admin: AdminOptions

  func run() throws {
    let answer = try admin.ask("POST", "/v1/reload")
    writeOutput("the new configuration is in force\n")
    for key in Configuration.texts(ofJSON: answer, under: "needs_restart") {
      writeOutput("\(key) stays as it is until an upgrade or a restart\n")
    }
  }
}

/// `pool/backend`, where the backend's own name may hold slashes.
struct BackendName: ExpressibleByArgument, CustomStringConvertible {
  let pool: String
  let address: String

  init?(argument: String) {
    guard let slash = argument.firstIndex(of: "/"), slash != argument.startIndex else { return nil }
    pool = String(argument[..<slash])
    address = String(argument[argument.index(after: slash)...])
    if address.isEmpty { return nil }
  }

  var description: String { "\(pool)/\(address)" }

  var path: String { "/v1/pools/\(pool.pathSegment)/backends/\(address.pathSegment)" }
}

/// Changes a backend, and returns how many exchanges are on it.
private func change(_ backend: BackendName, _ body: String, _ admin: AdminOptions) throws -> Int {
  let answer = try admin.ask("PATCH", backend.path, body: body)
  return activeCount(answer)
}

private func activeCount(_ answer: [UInt8]) -> Int {
  for (name, value) in Configuration.simpleMembers(ofJSON: answer) ?? [] {
    if name == "active", case .number(let count) = value { return count }
  }
  return 0
}
