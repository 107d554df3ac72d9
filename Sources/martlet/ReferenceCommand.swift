// `martlet reference`: prints docs/CONFIGURATION.md and docs/config.schema.json. A test compares
// the committed files with this output.

import ArgumentParser
import Configuration

struct ReferenceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reference",
    abstract: "Print the reference of the configuration file, or its JSON Schema.",
    discussion: """
      EXAMPLES
        martlet reference > docs/CONFIGURATION.md
        martlet reference --schema > docs/config.schema.json
      """)

  @Flag(help: "Print the JSON Schema instead of the Markdown page.")
  var schema = false

  func run() {
    writeOutput(schema ? Reference.schema : Reference.markdown)
  }
}
