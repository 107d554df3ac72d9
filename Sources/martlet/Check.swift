// `martlet check`: says what would run, or everything that is wrong, and what a reload would change
// where a Martlet runs already. Binds and starts nothing.

import ArgumentParser
import Configuration
import Primitives
import Server

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a configuration file, and show what would run.",
    discussion: """
      Prints "ok" and a summary, or all errors at once, each with file, line, column, key, what \
      was found and what is allowed. Nothing is bound or started. Where a Martlet runs already, it \
      is asked what a reload from this file would change, as `martlet diff` says it.

      EXAMPLES
        martlet check
        martlet check /etc/martlet/config.json

      Ends with 1 when the configuration is invalid.
      """)

  @Argument(help: ArgumentHelp("The configuration file.", valueName: "file"))
  var named = ConfigurationFile.standardPath

  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp("The same, as `martlet run` takes it.", valueName: "file"))
  var option: String?

  @Option(
    help: ArgumentHelp(
      "The admin socket of the running process. By default the one that the file names, else the "
        + "one in the usual place.", valueName: "path"))
  var socket: String?

  func run() throws {
    let file = option ?? named
    let found = try ConfigurationFile.find(file)
    let configuration = try accept(Configuration.read(found?.bytes, file: file))
    try checkFiles(of: configuration)
    writeOutput("\(file): ok\n\(configuration.summary)")
    if let socket = socket ?? AdminSocket.path(in: configuration) {
      writeOutput(Self.changes(found?.bytes ?? [], socket: socket))
    }
  }

  /// What the process that listens there says to this text; nothing when none answers.
  private static func changes(_ text: [UInt8], socket: String) -> String {
    let client = BlockingClient(to: .unix(socket), atMost: .seconds(2))
    guard let answer = try? client.ask("POST", "/v1/diff", body: text) else { return "" }
    if answer.status == 422 {
      return "the Martlet that runs would refuse it, for the flags that it was started with\n"
    }
    guard answer.status == 200, let changes = Configuration.changes(ofJSON: answer.body) else {
      return ""
    }
    if changes.isEmpty { return "a reload would change nothing in the Martlet that runs\n" }
    return "a reload would change in the Martlet that runs:\n"
      + changes.map { "  \($0)\n" }.joined()
  }
}
