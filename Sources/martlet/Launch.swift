// Starts the server, and serves until a signal stops it.

import ArgumentParser
import Configuration
import Logging
import Reactor
import Server

/// Serves until a signal stops it. Throws exit status 70 if the server fails, or if exchanges were
/// aborted at the end.
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

/// Logs the addresses, the backends and a command to try, at every log level.
private func announce(
  _ addresses: [Server.ListeningAddress], _ configuration: Configuration, to log: ProcessLog
) {
  for address in addresses {
    let scheme =
      switch address.spoken {
      case .http: address.isTLS ? "https" : "http"
      case .tcp: address.isTLS ? "tls" : "tcp"
      case .udp: "udp"
      }
    log.write(
      .notice, "listening",
      [("url", "\(scheme)://\(address.address)/"), ("listener", address.listener)])
  }
  for pool in configuration.pools {
    let backends = pool.backends.map { "\($0.address)" }.joined(separator: ",")
    log.write(
      .notice, "pool",
      [
        ("name", pool.name), ("strategy", pool.strategy.rawValue),
        ("protocol", configuration.spoken(by: pool)), ("backends", backends),
      ])
  }
  for backend in configuration.demoBackends {
    log.write(
      .notice, "demo backend", [("name", backend.name), ("url", "http://\(backend.address)/")])
  }
  if let address = addresses.first(where: { $0.spoken == .http }) {
    log.write(.notice, "try: curl \(arguments(for: address, configuration))")
  } else if let address = addresses.first {
    let colon = address.address.lastIndex(of: ":") ?? address.address.endIndex
    let command =
      address.isTLS
      ? "openssl s_client -connect \(address.address)"
      : "\(address.spoken == .udp ? "nc -u" : "nc") \(address.address[..<colon])"
        + " \(address.address[colon...].dropFirst())"
    log.write(.notice, "try: \(command)")
  }
}

/// The arguments with which curl reaches it from this machine, in any directory.
private func arguments(
  for address: Server.ListeningAddress, _ configuration: Configuration
) -> String {
  if !address.isTLS { return "http://\(address.address)/" }
  let parts = address.address.split(separator: ":")
  let port = parts.last.map(String.init) ?? ""
  var options = ""
  if let authority = authority(of: address, configuration) {
    options = "--cacert \(quoted(authority)) "
  }
  guard let name = address.certifiedName, name != "localhost" else {
    return "\(options)https://localhost:\(port)/"
  }
  let host = address.address.dropLast(port.utf8.count + 1)
  let target = ["0.0.0.0", "[::]"].contains(host) ? "127.0.0.1" : host
  return "\(options)--resolve \(name):\(port):\(target) https://\(name):\(port)/"
}

/// The certificate that a client must trust: the server's own if it is self-signed, or else the one
/// of the authority that scripts/make-certs creates next to the server's.
private func authority(
  of address: Server.ListeningAddress, _ configuration: Configuration
) -> String? {
  if let path = address.selfSigned { return File.absolutePath(of: path) }
  let listener = configuration.listeners.first { $0.name == address.listener }
  guard let chain = listener?.tls?.certificates.first?.chain else { return nil }
  let folder = chain.lastIndex(of: "/").map { String(chain[...$0]) } ?? ""
  return File.absolutePath(of: folder + "ca.crt")
}

/// Quoted as one word for a shell.
private func quoted(_ path: String) -> String {
  let isPlain = path.utf8.allSatisfy { byte in
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D...0x2F, 0x5F: true
    default: false
    }
  }
  return isPlain ? path : "'\(path.replacing("'", with: "'\\''"))'"
}
