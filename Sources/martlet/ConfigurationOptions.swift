// The flags that say what to run, shared by the commands that need a configuration.

import ArgumentParser
import Configuration
import Reactor
import Server

struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The configuration file. By default config.json in the working directory, if there is one.",
      valueName: "file"))
  var config: String?

  @Option(
    help: ArgumentHelp(
      "Listen here, in place of the file's only listener. By default localhost:8443.",
      discussion: "127.0.0.1:8443, [::1]:8443, localhost:8443 for both, *:8443 for all addresses.",
      valueName: "address:port"))
  var listen: String?

  @Flag(help: "Speak plain HTTP on all listeners; no certificates are needed.")
  var plainHttp = false

  @Option(
    help: ArgumentHelp(
      "The certificate chain of TLS listeners (PEM). By default certs/server.crt.",
      valueName: "file"))
  var certificate: String?

  @Option(
    help: ArgumentHelp(
      "The private key that goes with --certificate (PEM). By default certs/server.key.",
      valueName: "file"))
  var key: String?

  @Option(
    help: ArgumentHelp(
      "A backend, in place of the file's; may be given several times.",
      discussion: "10.0.0.1:8080, app.internal:8080, [::1]:8080 or unix:/run/app.sock, with"
        + " ,weight=N (1 to 256) or ,max-connections=N or ,backup behind it.",
      valueName: "address"))
  var backend: [String] = []

  @Option(
    help: ArgumentHelp(
      "round-robin, weighted-round-robin, least-connections, random or ip-hash. By default"
        + " round-robin.",
      valueName: "strategy"))
  var strategy: String?

  @Option(
    help: ArgumentHelp(
      "How long backends may take to begin a response, such as 5s. By default 60s.",
      valueName: "duration"))
  var requestTimeout: String?

  @Option(
    help: ArgumentHelp(
      "Time between health checks of a backend, such as 500ms. By default 5s.",
      valueName: "duration"))
  var healthInterval: String?

  @Option(
    help: ArgumentHelp(
      "Threads that serve. By default one for each processor that may be used.",
      valueName: "count"))
  var workers: String?

  @Flag(
    help: ArgumentHelp(
      "Run demo backends as well: one for each backend on this machine, or three.",
      discussion: "Without any pool they listen on 127.0.0.1:9001, 9002 and 9003."))
  var demo = false

  private var overrides: Overrides {
    var overrides = Overrides()
    overrides.listen = listen
    overrides.plainHTTP = plainHttp
    overrides.certificate = certificate
    overrides.key = key
    overrides.backends = backend
    overrides.strategy = strategy
    overrides.requestTimeout = requestTimeout
    overrides.healthInterval = healthInterval
    overrides.workers = workers
    overrides.demo = demo
    return overrides
  }

  /// The configuration anew, for a process that runs; what is wrong goes to the standard error too.
  func reload() -> Result<Configuration, RefusedConfiguration> {
    let file: ConfigurationFile?
    do throws(SystemError) {
      file = try ConfigurationFile.read(config)
    } catch {
      let reason = "\(config ?? ConfigurationFile.standardPath): the file can't be read: \(error)"
      writeError("\(reason)\n")
      return .failure(RefusedConfiguration([reason]))
    }
    let reading = Configuration.read(
      file?.bytes, file: file?.path ?? "", overrides: overrides)
    if let configuration = try? accept(reading) { return .success(configuration) }
    return .failure(RefusedConfiguration(reading))
  }

  /// What a reload would make of this text, if it stood in the file. Says nothing to anybody else.
  func interpret(_ text: [UInt8]) -> Result<Configuration, RefusedConfiguration> {
    let reading = Configuration.read(
      text, file: config ?? ConfigurationFile.standardPath, overrides: overrides)
    if let configuration = reading.configuration { return .success(configuration) }
    return .failure(RefusedConfiguration(reading))
  }

  /// The file that `load` reads; nil when there is none.
  var file: String? { (try? ConfigurationFile.read(config))?.map(\.path) ?? config }

  /// The configuration; warnings go to the standard error. Throws the exit status 1 after showing
  /// all errors there.
  func load() throws -> Configuration {
    let file = try ConfigurationFile.find(config)
    let reading = Configuration.read(
      file?.bytes, file: file?.path ?? "", overrides: overrides)
    return try accept(reading)
  }
}

extension RefusedConfiguration {
  fileprivate init(_ reading: Configuration.Reading) {
    self.init(reading.diagnostics.filter { $0.severity == .error }.map { "\($0)" })
  }
}

/// Shows what was found, and returns the configuration, or throws the exit status 1.
func accept(_ reading: Configuration.Reading) throws -> Configuration {
  if !reading.diagnostics.isEmpty {
    writeError(reading.diagnostics.map { "\($0)\n" }.joined())
  }
  guard let configuration = reading.configuration else {
    let count = reading.diagnostics.count { $0.severity == .error }
    writeError("martlet: the configuration has \(count == 1 ? "one error" : "\(count) errors")\n")
    throw ExitCode(1)
  }
  return configuration
}
