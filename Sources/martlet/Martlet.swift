// The command `martlet`: its help, subcommands and exit statuses.

import ArgumentParser
import Configuration
import Reactor

@main
struct Martlet: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "martlet",
    abstract: "An HTTPS edge load balancer.",
    discussion: """
      Martlet terminates TLS, balances HTTP requests over pools of backends, checks their health, \
      and retries failed requests on another backend if that is safe.

      EXAMPLES
        Try it with three demo backends:
          martlet run --demo --plain-http --listen 127.0.0.1:8080
          curl http://127.0.0.1:8080/

        Run with config.json:
          martlet check && martlet run

      EXIT STATUS
        0   success
        1   the configuration is invalid
        64  the command line is wrong
        69  refused: `drain` would leave a pool without an available backend
        70  the command failed: an address is in use, a process can't be reached
      """,
    version: "0.1.0",
    subcommands: [
      Run.self, Check.self, Status.self, Top.self, Tap.self, Explain.self, Drain.self, Enable.self,
      SetWeight.self, SetLogLevel.self, Diff.self, Reload.self, Upgrade.self, Backend.self,
      ReferenceCommand.self,
    ])

  /// The same prefix as that of the other messages of all commands.
  static var _errorPrefix: String { "martlet: error: " }

  static func main() {
    StandardStreams.ensureOpen()
    refuseUnknownCommand()
    main(nil)
  }

  /// For a mistyped command ArgumentParser reports an unexpected argument; this suggests the
  /// nearest command instead.
  private static func refuseUnknownCommand() {
    let known = configuration.subcommands.map { $0._commandName } + ["help"]
    var arguments = CommandLine.arguments.dropFirst()
    if arguments.first == "help" { arguments.removeFirst() }
    guard let name = arguments.first, !name.hasPrefix("-"), !known.contains(name) else { return }
    let nearest = nearestName(to: name, among: known).map { "; did you mean '\($0)'?" }
    exit(
      withError: ValidationError("there is no command '\(name)'\(nearest ?? "")"))
  }
}
