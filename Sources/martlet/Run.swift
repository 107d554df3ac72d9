// `martlet run`: reads flags and file, then serves.

import ArgumentParser
import Configuration
import Server

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run the load balancer.",
    discussion: """
      Reads the file given by --config, or config.json in the working directory if it exists. \
      Flags override the file, and the file overrides the defaults. With flags you need no file. \
      docs/CONFIGURATION.md describes the keys of the file.

      EXAMPLES
        martlet run
        martlet run --config /etc/martlet/config.json --workers 4
        martlet run --backend 10.0.0.11:8080 --backend 10.0.0.12:8080,weight=3 \\
            --strategy weighted-round-robin --certificate site.crt --key site.key
        martlet run --demo --plain-http --listen 127.0.0.1:8080

      The exit status is 1 if the configuration is invalid, and 70 if Martlet can't serve.
      """)

  @OptionGroup var options: ConfigurationOptions

  func run() throws {
    let predecessor = Predecessor.find()
    let log = ProcessLog(Configuration.Log())
    let configuration: Configuration
    do {
      configuration = try options.load(log)
    } catch {
      predecessor?.goOn(because: "the configuration is refused")
      throw error
    }
    try launch(
      configuration, file: options.file, log: log, predecessor: predecessor,
      reload: { options.reload(log) }, interpret: options.interpret)
  }
}
