// `martlet diff`: says what a reload from one configuration file to another would change.

import ArgumentParser
import Configuration

struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what is different between two configuration files.",
    discussion: """
      One line for each change, in the order of names: + for what is added, - for what is removed, \
      ~ for what is changed, with the old value and the new one. What only an upgrade or a restart \
      can change says so. The new file is read as if it stood where the old one does, so that \
      relative paths mean the same.

      EXAMPLES
        martlet diff config.json new.json
        git show HEAD:config.json > old.json && martlet diff old.json config.json

      Ends with 0 whether there are differences or not, and with 1 when a file is invalid.
      """)

  @Argument(help: ArgumentHelp("The file that is in force.", valueName: "old"))
  var old: String

  @Argument(help: ArgumentHelp("The file to compare it with.", valueName: "new"))
  var new: String

  @Flag(help: "Print the changes as JSON.")
  var json = false

  func run() throws {
    let bytes = try ConfigurationFile.find(new, isAny: true)?.bytes
    let before = try accept(
      Configuration.read(try ConfigurationFile.find(old, isAny: true)?.bytes, file: old))
    // What is wrong with the new file is shown by its own name.
    let fresh = try accept(Configuration.read(bytes, file: new))
    let after = Configuration.read(bytes, file: old).configuration ?? fresh
    let changes = before.changes(to: after)
    if json { return writeOutput(Configuration.json(of: changes)) }
    if changes.isEmpty { return writeOutput("no differences\n") }
    writeOutput(changes.map { "\($0)\n" }.joined())
  }
}
