// The flags of `martlet run`, which override the configuration file.

import ArgumentParser
import Configuration
import Logging
import Reactor
import Server

struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The configuration file. Default: config.json in the working directory, if it exists.",
      valueName: "file"))
  var config: String?

  @Option(
    help: ArgumentHelp(
      "Listen on this address. Default: localhost:8443.",
      discussion: "127.0.0.1:8443, [::1]:8443, localhost:8443 for both, *:8443 for all addresses."
        + " Not allowed if the file has several listeners.",
      valueName: "address:port"))
  var listen: String?

  @Flag(help: "Serve plain HTTP on all listeners, without certificates.")
  var plainHttp = false

  @Option(
    help: ArgumentHelp(
      "The certificate chain of all TLS listeners (PEM). Default: certs/server.crt.",
      valueName: "file"))
  var certificate: String?

  @Option(
    help: ArgumentHelp(
      "The private key of --certificate (PEM). Default: certs/server.key.",
      valueName: "file"))
  var key: String?

  @Option(
    help: ArgumentHelp(
      "Use this backend instead of those in the file. Repeat it for several backends.",
      discussion: "10.0.0.1:8080, app.internal:8080, [::1]:8080 or unix:/run/app.sock. Append keys"
        + " with commas: 10.0.0.1:8080,weight=3,max-connections=50 or 10.0.0.1:8080,backup.",
      valueName: "address"))
  var backend: [String] = []

  @Option(
    help: ArgumentHelp(
      "The strategy of all pools: round-robin, weighted-round-robin, least-connections, random,"
        + " ip-hash, maglev, power-of-two or least-time. Default: round-robin.",
      valueName: "strategy"))
  var strategy: String?

  @Option(
    help: ArgumentHelp(
      "Timeout until a response begins, including retries, such as 5s. Default: 60s.",
      valueName: "duration"))
  var requestTimeout: String?

  @Option(
    help: ArgumentHelp(
      "Time between two health checks of a backend, such as 500ms. Default: 5s.",
      valueName: "duration"))
  var healthInterval: String?

  @Option(
    help: ArgumentHelp(
      "Number of worker threads. Default: one per processor.",
      valueName: "count"))
  var workers: String?

  @Flag(
    help: ArgumentHelp(
      "Also start a demo backend on each backend address that is a loopback address.",
      discussion: """
        If there is no pool, three demo backends listen on 127.0.0.1:9001, 9002 and 9003.
        """))
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

  /// The configuration of a reload. Warnings go to the log; the caller logs the errors.
  func reload(_ log: ProcessLog) -> Result<Configuration, RefusedConfiguration> {
    let file: ConfigurationFile?
    do throws(SystemError) {
      file = try ConfigurationFile.read(config)
    } catch {
      let path = config ?? ConfigurationFile.standardPath
      let reason = "\(path): the file can't be read: \(error.ofFile)"
      return .failure(RefusedConfiguration([reason]))
    }
    let reading = Configuration.read(
      file?.bytes, file: file?.path ?? "", overrides: overrides)
    for diagnostic in reading.diagnostics where diagnostic.severity == .warning {
      log.write(.warning, diagnostic.textWithoutSeverity)
    }
    if let configuration = reading.configuration { return .success(configuration) }
    return .failure(RefusedConfiguration(reading))
  }

  /// The configuration that a reload would make from this text. Prints nothing.
  func interpret(_ text: [UInt8]) -> Result<Configuration, RefusedConfiguration> {
    let reading = Configuration.read(
      text, file: config ?? ConfigurationFile.standardPath, overrides: overrides)
    if let configuration = reading.configuration { return .success(configuration) }
    return .failure(RefusedConfiguration(reading))
  }

  /// The file that `load` reads; nil if there is none.
  var file: String? { (try? ConfigurationFile.read(config))?.map(\.path) ?? config }

  /// The configuration at the start; warnings go to the log. If there are errors, logs all of them
  /// and throws the exit status 1.
  func load(_ log: ProcessLog) throws -> Configuration {
    let file: ConfigurationFile?
    do throws(SystemError) {
      file = try ConfigurationFile.read(config)
    } catch {
      let path = config ?? ConfigurationFile.standardPath
      log.write(.error, "\(path): the file can't be read: \(error.ofFile)")
      throw ExitCode(1)
    }
    let reading = Configuration.read(
      file?.bytes, file: file?.path ?? "", overrides: overrides)
    if let draft = reading.draft { log.format = draft.log.format }
    for diagnostic in reading.diagnostics {
      log.write(
        diagnostic.severity == .error ? .error : .warning, diagnostic.textWithoutSeverity)
    }
    guard let configuration = reading.configuration else {
      let count = reading.diagnostics.count { $0.severity == .error }
      log.write(.error, "the configuration has \(count == 1 ? "one error" : "\(count) errors")")
      throw ExitCode(1)
    }
    return configuration
  }
}

extension RefusedConfiguration {
  fileprivate init(_ reading: Configuration.Reading) {
    self.init(reading.diagnostics.filter { $0.severity == .error }.map { "\($0)" })
  }
}

/// Prints all diagnostics, and returns the configuration or throws exit status 1.
func accept(_ reading: Configuration.Reading) throws -> Configuration {
  if !reading.diagnostics.isEmpty {
    writeError(reading.diagnostics.map { "\($0)\n" }.joined())
  }
  guard let configuration = reading.configuration else {
    let count = reading.diagnostics.count { $0.severity == .error }
    let errors = count == 1 ? "one error" : "\(count) errors"
    var text = "the configuration has \(errors)"
    let heldBack = reading.heldBackCount
    if heldBack > 0 {
      let warnings = heldBack == 1 ? "one warning" : "\(heldBack) warnings"
      text += "; once corrected, there may be \(warnings)"
    }
    writeError("martlet: error: \(text)\n")
    throw ExitCode(1)
  }
  return configuration
}
