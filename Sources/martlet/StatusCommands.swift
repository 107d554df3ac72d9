// Commands that show the state of a running Martlet: `status` and `top`.

import ArgumentParser
import Primitives
import Reactor
import Server

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the state of the running Martlet.",
    discussion: """
      Prints traffic and clients, and for each backend its state, weight, requests and failures.

      EXAMPLES
        martlet status
        martlet status --json | jq '.pools[].name'
      """)

  @OptionGroup var admin: AdminOptions

  @Flag(help: "Print the whole state as JSON.")
  var json = false

  func run() throws {
    let body = try admin.ask("GET", json ? "/v1/state" : "/v1/status")
    writeOutput(String(decoding: body, as: UTF8.self) + (json ? "\n" : ""))
  }
}

struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the status every second, until Ctrl-C.")

  @OptionGroup var admin: AdminOptions

  @Option(
    help: ArgumentHelp(
      "Show the status this many times, then stop. Default: until Ctrl-C.", valueName: "times"))
  var count: Int?

  func validate() throws {
    if let count, count < 1 {
      throw ValidationError("--count: \(count) is too small; write 1 or more")
    }
  }

  func run() throws {
    var shown = 0
    while count.map({ shown < $0 }) ?? true {
      let body = try admin.ask("GET", "/v1/status")
      // Overwrite the old text instead of clearing the screen, which would flicker.
      let text = String(decoding: body, as: UTF8.self)
      writeOutput("\u{1B}[H" + text.replacing("\n", with: "\u{1B}[K\n") + "\u{1B}[J")
      shown += 1
      if shown != count { CurrentProcess.pause(.seconds(1)) }
    }
  }
}
