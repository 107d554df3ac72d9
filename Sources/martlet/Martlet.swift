// The command `martlet`: what it is, its parts, and how they end.

import ArgumentParser

@main
struct Martlet: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "martlet",
    abstract: "An HTTPS edge load balancer.",
    discussion: """
      Martlet terminates TLS, spreads HTTP requests over a pool of backends, checks their health \
      and retries what may be retried.

      EXAMPLES
        Try it, with three demo backends in the same process:
          martlet run --demo --plain-http --listen 127.0.0.1:8080
          curl http://127.0.0.1:8080/

        Serve what config.json says:
          martlet check && martlet run

      EXIT STATUS
        0   done, or the configuration is valid
        1   the configuration is invalid
        64  the command line is wrong
        70  it failed while running: an address is taken, a file can't be written
      """,
    version: "0.1.0",
    subcommands: [
      Run.self, Check.self, Status.self, Top.self, Tap.self, Explain.self, Drain.self, Enable.self,
      SetWeight.self, SetLogLevel.self, Diff.self, Reload.self, Upgrade.self, Backend.self,
      ReferenceCommand.self,
    ])
}
