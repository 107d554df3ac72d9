// `martlet diff`: prints what a reload from one configuration file to another would change.

import ArgumentParser
import Configuration

struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the differences between two configuration files.",
    discussion: """
      Prints one line per change, sorted by key: + added, - removed, ~ changed, with the old and \
      the new value. A change that takes effect only after an upgrade or a restart is marked. \
      Relative paths in both files are relative to the directory of the old file.

      EXAMPLES
        martlet diff config.json new.json
        git show HEAD:config.json > old.json && martlet diff old.json config.json

      The exit status is 0 with or without differences, and 1 if a file is invalid.
      """)

  @Argument(help: ArgumentHelp("The old configuration file.", valueName: "old"))
  var old: String

  @Argument(help: ArgumentHelp("The new configuration file.", valueName: "new"))
  var new: String

  @Flag(help: "Print the changes as JSON.")
  var json = false

  func run() throws {
    let bytes = try ConfigurationFile.find(new, isAny: true)?.bytes
    let before = try accept(
      Configuration.read(try ConfigurationFile.find(old, isAny: true)?.bytes, file: old))
    // Errors of the new file are shown with its name.
    let fresh = try accept(Configuration.read(bytes, file: new))
    let after = Configuration.read(bytes, file: old).configuration ?? fresh
    let changes = before.changes(to: after)
    if json { return writeOutput(Configuration.json(of: changes)) }
    if changes.isEmpty { return writeOutput("no differences\n") }
    writeOutput(changes.map { "\($0)\n" }.joined())
  }
}
