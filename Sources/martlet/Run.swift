// `martlet run`: flags over file over defaults, then serve.

import ArgumentParser
import Configuration
import Server

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve, as a configuration file and the flags say.",
    discussion: """
      Reads the file given by --config, else config.json in the working directory, else none. \
      Flags stand above the file, and the file above the defaults; so a run with flags alone needs \
      no file. docs/CONFIGURATION.md describes the keys of the file.

      EXAMPLES
        martlet run
        martlet run --config /etc/martlet/config.json --workers 4
        martlet run --backend 10.0.0.11:8080 --backend 10.0.0.12:8080,weight=3 \\
            --strategy weighted-round-robin --certificate site.crt --key site.key
        martlet run --demo --plain-http --listen 127.0.0.1:8080

      Ends with 1 when the configuration is invalid, with 70 when it can't serve.
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
