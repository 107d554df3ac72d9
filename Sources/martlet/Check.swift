// `martlet check`: says what would run, or everything that is wrong. Binds and starts nothing.

import ArgumentParser
import Configuration

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a configuration file, and show what would run.",
    discussion: """
      Prints "ok" and a summary, or all errors at once, each with file, line, column, key, what \
      was found and what is allowed. Nothing is bound or started.

      EXAMPLES
        martlet check
        martlet check /etc/martlet/config.json

      Ends with 1 when the configuration is invalid.
      """)

  @Argument(
    help: ArgumentHelp("The configuration file.", valueName: "file"))
  var file = ConfigurationFile.standardPath

  func run() throws {
    let found = try ConfigurationFile.find(file)
    let configuration = try accept(Configuration.read(found?.bytes, file: file))
    try checkFiles(of: configuration)
    writeOutput("\(file): ok\n\(configuration.summary)")
  }
}
