// `martlet check`: says what would run, or everything that is wrong, and what a reload would change
// where a Martlet runs already. Binds and starts nothing.

import ArgumentParser
import Configuration
import Primitives
import Reactor
import Server

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a configuration file, and show what would run.",
    discussion: """
      Prints "ok" and a summary, or all errors at once, each with file, line, column, key, what \
      was found and what is allowed: in the text as well as in the certificates, keys and other \
      files that it names. What would keep `martlet run` from starting is an error. So is a \
      certificate that has expired or isn't valid yet, which `run` serves all the same; with \
      --as-run it is a warning, for whoever checks before a start. Root looks at the files as the \
      user that process.user names. Nothing is bound or started. Where a Martlet runs already, it \
      is asked what a reload from this file would change, as `martlet diff` says it.

      EXAMPLES
        martlet check
        martlet check /etc/martlet/config.json
        martlet check --as-run /etc/martlet/config.json && martlet run

      Ends with 1 when there is an error.
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

  @Flag(
    help: "Judge as `martlet run` does: a certificate that is out of date is only a warning.")
  var asRun = false

  func run() throws {
    let file = option ?? named
    let found = try ConfigurationFile.find(file, isAny: true)
    let reading = Configuration.read(found?.bytes, file: file)
    let configuration = try accept(
      reading.adding(Self.become(reading, file)).checkingReferences(asRun: asRun))
    writeOutput("\(file): ok\n\(configuration.summary)")
    if let socket = socket ?? AdminSocket.path(in: configuration) {
      writeOutput(Self.changes(found?.bytes ?? [], socket: socket))
    }
  }

  /// Looks with the eyes of the user that `run` would become, and says why that doesn't work.
  private static func become(_ reading: Configuration.Reading, _ file: String) -> [Diagnostic] {
    func finding(_ message: String) -> [Diagnostic] {
      [reading.places.diagnostic(.error, key: "process.user", message)]
    }
    guard let draft = reading.draft, let user = draft.process.user else { return [] }
    do throws(SystemError) {
      try draft.becomeConfiguredUser()
      _ = try ConfigurationFile.read(file)
      return []
    } catch where error == .notRegularFile {
      // A pipe, which has been read, and which `run` doesn't take.
      return []
    } catch {
      return finding("as user \(user) Martlet couldn't read this file: \(error)")
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
