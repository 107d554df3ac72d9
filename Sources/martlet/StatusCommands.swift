// Looking at a running Martlet: `status`, `top`, `tap`, `explain`.

import ArgumentParser
import Primitives
import Reactor
import Server

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show how the running Martlet is.",
    discussion: """
      Traffic, clients, and each pool with its backends: condition, weight, exchanges, failures.

      EXAMPLES
        martlet status
        martlet status --json | jq '.pools[].backends[] | select(.condition != "up")'
      """)

  @OptionGroup var admin: AdminOptions

  @Flag(help: "Everything, as JSON.")
  var json = false

  func run() throws {
    let body = try admin.ask("GET", json ? "/v1/state" : "/v1/status")
    writeOutput(String(decoding: body, as: UTF8.self) + (json ? "\n" : ""))
  }
}

struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show it again every second, until Ctrl-C.")

  @OptionGroup var admin: AdminOptions

  @Option(help: ArgumentHelp("How many times; without end by default.", valueName: "times"))
  var count: Int?

  func run() throws {
    var shown = 0
    while count.map({ shown < $0 }) ?? true {
      let body = try admin.ask("GET", "/v1/status")
      // Home, the text, and whatever is left of the one before taken away: no flicker.
      let text = String(decoding: body, as: UTF8.self)
      writeOutput("\u{1B}[H" + text.replacing("\n", with: "\u{1B}[K\n") + "\u{1B}[J")
      shown += 1
      if shown != count { CurrentProcess.pause(.seconds(1)) }
    }
  }
}

struct Tap: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show exchanges as they end, until Ctrl-C.",
    discussion: """
      One line of JSON each, as the access log has it, whatever the log's own format. It costs the \
      running process nothing while nobody taps; if more come than can be shown, some are left out.

      EXAMPLES
        martlet tap --status 500
        martlet tap --text /api/ | jq -c '[.status, .target, .attempts[].backend]'
      """)

  @OptionGroup var admin: AdminOptions

  @Option(help: ArgumentHelp("Only from this status on.", valueName: "status"))
  var status = 0

  @Option(help: ArgumentHelp("Only lines with this text in them.", valueName: "text"))
  var text = ""

  func run() throws { try admin.follow("/v1/tap?status=\(status)&text=\(text.pathSegment)") }
}

struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what would become of a request, without sending it.",
    discussion: """
      Which listener, route and pool, and each backend with why it may be chosen or not.

      EXAMPLES
        martlet explain GET https://www.example.com/api/users
      """)

  @OptionGroup var admin: AdminOptions

  @Argument(help: "The method.")
  var method: String

  @Argument(help: "The whole address, with https:// or http://.")
  var url: String

  func run() throws {
    let body = try admin.ask(
      "GET", "/v1/explain?method=\(method.pathSegment)&url=\(url.pathSegment)")
    writeOutput(String(decoding: body, as: UTF8.self) + "\n")
  }
}
