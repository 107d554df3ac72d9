// Where the command line meets the server: serving until a signal ends it.

import ArgumentParser
import Configuration
import Logging
import Server

/// Serves until a signal ends it. Throws the exit status 70 when it can't, or when exchanges had to
/// be cut off at the end.
func launch(
  _ configuration: Configuration, file: String?, log: ProcessLog, predecessor: Predecessor? = nil,
  reload: @escaping () -> Result<Configuration, RefusedConfiguration>,
  interpret: @escaping ([UInt8]) -> Result<Configuration, RefusedConfiguration>
) throws {
  log.level = configuration.log.level
  log.format = configuration.log.format
  let logger = Logger(label: "martlet") { _ in ProcessLogHandler(log) }
  let options = Server.Options(
    configuration: configuration, file: file, version: Martlet.configuration.version,
    logger: logger, log: log, predecessor: predecessor, reload: reload,
    interpret: interpret,
    started: { addresses in announce(addresses, configuration, to: log) })
  do throws(ServerFailure) {
    if try Server.run(options) { return }
  } catch {
    for message in error.messages { log.write(.error, message) }
    predecessor?.goOn(because: error.messages.joined(separator: "; "))
  }
  throw ExitCode(70)
}

/// Where it listens, what is behind, and a command to try, whatever the level of the log.
private func announce(
  _ addresses: [Server.ListeningAddress], _ configuration: Configuration, to log: ProcessLog
) {
  for address in addresses {
    let scheme = address.isTLS ? "https" : "http"
    log.write(
      .notice, "listening",
      [("url", "\(scheme)://\(address.address)/"), ("listener", address.listener)])
  }
  for pool in configuration.pools {
    let backends = pool.backends.map { "\($0.endpoint)" }.joined(separator: ",")
    log.write(
      .notice, "pool",
      [("name", pool.name), ("strategy", pool.strategy.rawValue), ("backends", backends)])
  }
  if let address = addresses.first { log.write(.notice, "try: curl \(arguments(for: address))") }
}

/// What curl needs to reach it from this machine.
private func arguments(for address: Server.ListeningAddress) -> String {
  if !address.isTLS { return "http://\(address.address)/" }
  let port = address.address.split(separator: ":").last.map(String.init) ?? ""
  // The name of the certificates that scripts/make-certs makes.
  guard let name = address.certifiedName, name != "localhost" else {
    return "--cacert certs/ca.crt https://localhost:\(port)/"
  }
  return "--resolve \(name):\(port):127.0.0.1 https://\(name):\(port)/"
}
