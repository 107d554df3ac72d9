// Commands that change a running Martlet: `enable`, `set-weight`, `log-level`, `reload`. `drain` is
// in Drain.swift.

import ArgumentParser
import Configuration
import Server

struct Enable: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Send requests to a drained backend again.")

  @OptionGroup var admin: AdminOptions

  @Argument(
    help: ArgumentHelp("The backend, such as app/10.0.0.11:8080.", valueName: "pool/backend"),
    transform: BackendName.init)
  var backend: BackendName

  func run() throws {
    _ = try admin.ask("PATCH", backend.path, body: "{\"state\": \"enabled\"}")
    writeOutput("\(backend) is enabled\n")
  }
}

struct SetWeight: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Set the weight of a backend.",
    discussion: """
      The weight overrides the configuration, even after reloads. Set it to `configured` to use \
      the configuration again.

      EXAMPLES
        martlet set-weight app/10.0.0.11:8080 1
        martlet set-weight app/10.0.0.11:8080 configured
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(
    help: ArgumentHelp("The backend, such as app/10.0.0.11:8080.", valueName: "pool/backend"),
    transform: BackendName.init)
  var backend: BackendName

  @Argument(help: ArgumentHelp("1 to 256, or configured.", valueName: "weight"))
  var weight: String

  func validate() throws {
    if weight != "configured" && !(Int(weight).map { (1...256).contains($0) } ?? false) {
      throw ValidationError("'\(weight)' is not a weight; write 1 to 256, or configured")
    }
  }

  func run() throws {
    let value = weight == "configured" ? "null" : weight
    let answer = try admin.ask("PATCH", backend.path, body: "{\"weight\": \(value)}")
    let effective = AdminReply(answer)?["weight"]?.text ?? weight
    let origin = weight == "configured" ? ", as configured" : ""
    writeOutput("the weight of \(backend) is now \(effective)\(origin)\n")
    for (name, value) in Configuration.simpleMembers(ofJSON: answer) ?? [] {
      if name == "note", case .text(let note) = value { writeError("martlet: warning: \(note)\n") }
    }
  }
}

struct SetLogLevel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log-level",
    abstract: "Show or set the level of the process log.",
    discussion: """
      The level overrides log.level of the configuration until the next reload. Set it to \
      `configured` to use the configuration again.

      EXAMPLES
        martlet log-level
        martlet log-level debug
        martlet log-level configured
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(
    help: ArgumentHelp("debug, info, warning, error, or configured.", valueName: "level"))
  var level: String?

  private static let levels = Configuration.Log.Level.allCases.map(\.rawValue) + ["configured"]

  func validate() throws {
    guard let level, !Self.levels.contains(level) else { return }
    let nearest = nearestName(to: level, among: Self.levels).map { ". Did you mean '\($0)'?" }
    throw ValidationError(
      "'\(level)' is not a level; write one of \(Self.levels.joined(separator: ", "))"
        + (nearest ?? ""))
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
    abstract: "Reload the configuration.",
    discussion: """
      Like SIGHUP, but it waits for the result. If the new configuration has errors, the command \
      prints all of them, and the old configuration stays in force.

      The exit status is 0 if the new configuration is in force, and 70 if not.
      """)

  @OptionGroup var admin: AdminOptions

  func run() throws {
    let answer = try admin.ask("POST", "/v1/reload")
    let isSame = AdminReply(answer)?["changed"]?.text == "false"
    writeOutput(isSame ? "nothing has changed\n" : "the new configuration is in force\n")
    for key in Configuration.texts(ofJSON: answer, under: "needs_restart") {
      writeOutput("\(key) is not applied until an upgrade or a restart\n")
    }
  }
}

/// `pool/backend`. The backend's address may contain slashes.
struct BackendName: CustomStringConvertible {
  let pool: String
  let address: String

  init(_ argument: String) throws {
    let parts = argument.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
      throw ValidationError(
        "'\(argument)' is not the name of a backend; write pool/backend, such as"
          + " app/10.0.0.11:8080. `martlet status` lists all backends")
    }
    (pool, address) = (String(parts[0]), String(parts[1]))
  }

  var description: String { "\(pool)/\(address)" }

  var path: String { "/v1/pools/\(pool.pathSegment)/backends/\(address.pathSegment)" }
}
