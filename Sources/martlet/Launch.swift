// Starts the server, and serves until a signal stops it.

import ArgumentParser
import Configuration
import Logging
import Server

/// Serves until a signal stops it. Throws exit status 70 if the server fails, or if exchanges were
/// aborted at the end.
func launch(
  _ configuration: Configuration, file: String?, predecessor: Predecessor? = nil,
  reload: @escaping () -> Result<Configuration, RefusedConfiguration>,
  interpret: @escaping ([UInt8]) -> Result<Configuration, RefusedConfiguration>
) throws {
  let level = LogLevel(configuration.log.level)
  let logger = Logger(label: "martlet") { ProcessLogHandler(label: $0, level: level) }
  let options = Server.Options(
    configuration: configuration, file: file, version: Martlet.configuration.version,
    logger: logger, logLevel: level, predecessor: predecessor, reload: reload,
    interpret: interpret,
    started: { addresses in
      writeError(banner(addresses, configuration))
    })
  do throws(ServerFailure) {
    if try Server.run(options) { return }
  } catch {
    for message in error.messages { writeError("martlet: error: \(message)\n") }
    predecessor?.goOn(because: error.messages.joined(separator: "; "))
  }
  throw ExitCode(70)
}

/// The listening addresses, the pools, and a command to try.
private func banner(
  _ addresses: [Server.ListeningAddress], _ configuration: Configuration
) -> String {
  var text = "martlet is listening\n"
  for address in addresses {
    let scheme = address.isTLS ? "https" : "http"
    text += "  \(scheme)://\(address.address)/  (listener \(address.listener))\n"
  }
  for pool in configuration.pools {
    let backends = pool.backends.map { "\($0.endpoint)" }.joined(separator: ", ")
    text += "pool \(pool.name), \(pool.strategy.rawValue): \(backends)\n"
  }
  if let address = addresses.first {
    text += "try  curl \(arguments(for: address))\n"
  }
  return text
}

/// The arguments of curl to connect from this machine.
private func arguments(for address: Server.ListeningAddress) -> String {
  if !address.isTLS { return "http://\(address.address)/" }
  let port = address.address.split(separator: ":").last.map(String.init) ?? ""
  // `localhost` is the name in the certificates of scripts/make-certs.
  guard let name = address.certifiedName, name != "localhost" else {
    return "--cacert certs/ca.crt https://localhost:\(port)/"
  }
  return "--resolve \(name):\(port):127.0.0.1 https://\(name):\(port)/"
}
