// `martlet check`: validates a configuration, and prints a summary or all errors. If Martlet is
// running, it also prints what a reload would change. It binds no ports.

import ArgumentParser
import Configuration
import Primitives
import Reactor
import Server

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a configuration file, and print a summary or all errors.",
    discussion: """
      Checks the file and all files that it names, such as certificates and keys. Each error has \
      file, line, column, key, what was found and what is allowed. Everything that stops `martlet \
      run` from starting is an error.

      An expired certificate, or one that is not valid yet, is an error here, but `martlet run` \
      starts with it. With --as-run it is only a warning: use this option in a script that starts \
      Martlet.

      If you are root, the files are checked with the permissions of process.user. The command \
      binds no ports. If Martlet is running, the command also prints what a reload would change.

      EXAMPLES
        martlet check
        martlet check /etc/martlet/config.json
        martlet check --as-run /etc/martlet/config.json && martlet run

      The exit status is 1 if there is an error.
      """)

  @Argument(help: ArgumentHelp("The configuration file.", valueName: "file"))
  var named = ConfigurationFile.standardPath

  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: ArgumentHelp("The configuration file, as for `martlet run`.", valueName: "file"))
  var option: String?

  @Option(
    help: ArgumentHelp(
      "The admin socket of the running process. Default: admin.socket of the file.",
      valueName: "path"))
  var socket: String?

  @Flag(
    help: "Report an expired or not yet valid certificate as a warning, as `martlet run` does.")
  var asRun = false

  @Flag(help: "Print all routes and backends, not only the first of many.")
  var all = false

  func run() throws {
    let file = option ?? named
    let found = try ConfigurationFile.find(file, isAny: true)
    let reading = Configuration.read(found?.bytes, file: file)
    let configuration = try accept(
      reading.adding(Self.become(reading, file)).checkingReferences(asRun: asRun))
    writeOutput("\(file): ok\n\(configuration.summary(all: all))")
    if let socket = socket ?? AdminSocket.path(in: configuration) {
      writeOutput(Self.changes(found?.bytes ?? [], socket: socket))
    }
  }

  /// Switches to the user that `run` would use; returns an error if that doesn't work.
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
      // A pipe. It has been read, but `run` does not accept it.
      return []
    } catch {
      return finding("the user \(user) can't read this file: \(error)")
    }
  }

  /// What a reload from this text would change, from the process at this socket; empty if there is
  /// no response.
  private static func changes(_ text: [UInt8], socket: String) -> String {
    let client = BlockingClient(to: .unix(socket), atMost: .seconds(2))
    guard let answer = try? client.ask("POST", "/v1/diff", body: text) else { return "" }
    if answer.status == 422 {
      return "the running Martlet would refuse this file, because it was started with other flags\n"
    }
    guard answer.status == 200, let changes = Configuration.changes(ofJSON: answer.body) else {
      return ""
    }
    if changes.isEmpty { return "a reload of the running Martlet would change nothing\n" }
    return "a reload of the running Martlet would change:\n"
      + changes.map { "  \($0)\n" }.joined()
  }
}
