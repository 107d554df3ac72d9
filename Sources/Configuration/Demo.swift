// Demo backends: small servers that respond with their name. They have their own configuration, so
// that the logs and counters of the Martlet in front do not include them.

public import Primitives

extension Configuration {
  /// The ports of the demo backends if the configuration has no pool.
  static let demoPorts: [UInt16] = [9001, 9002, 9003]

  /// One demo backend of a run with `--demo`.
  public struct DemoBackend: Hashable, Sendable {
    public let name: String
    public let address: SocketAddress
  }

  /// A backend that responds to every request with `Hello from NAME`. Nil if `listen` is not an
  /// address with a port.
  public static func demoBackend(name: String, listen: String) -> Configuration? {
    guard let address = ListenAddress(listen) else { return nil }
    var configuration = demo
    configuration.addDemoListener(name, at: address)
    return configuration
  }

  /// The configuration of the demo backends; nil without demo backends.
  public var ofDemoBackends: Configuration? {
    if demoBackends.isEmpty { return nil }
    var configuration = Self.demo
    for backend in demoBackends {
      configuration.addDemoListener(backend.name, at: ListenAddress(backend.address))
    }
    return configuration
  }

  /// Without an access log and an admin socket, which the load balancer uses.
  private static var demo: Configuration {
    var configuration = Configuration()
    configuration.listeners = []
    configuration.admin.socket = .off
    configuration.log.access = .off
    configuration.workers = 1
    // Small enough for any limit of file descriptors, so that there is no warning.
    configuration.limits.connections = 256
    return configuration
  }

  /// Adds a demo backend behind each loopback address of the pools.
  mutating func addDemoBackends(_ decoder: inout Decoder) {
    let flag = JSON.Origin.flag("--demo")
    var addresses: [SocketAddress] = []
    // The demo backends speak plain HTTP.
    for backend in pools.flatMap(\.backends) where backend.scheme != .https {
      let address: SocketAddress? =
        switch backend.endpoint {
        case .address(let address) where address.ip?.isLoopback == true: address
        case .name("localhost", let port): .ip(.loopbackV4, port: port)
        default: nil
        }
      if let address, !addresses.contains(address) { addresses.append(address) }
    }
    if addresses.isEmpty {
      decoder.report(
        "no backend has a loopback address for a demo backend, such as 127.0.0.1:9001", at: flag)
    }
    for (index, address) in addresses.enumerated() {
      let name = "backend-\(index + 1)"
      let taken = listeners.first { listener in
        listener.name == name || listener.addresses.contains { $0.overlaps(address) }
      }
      if let taken {
        decoder.report("\(address) is already used by the listener \"\(taken.name)\"", at: flag)
      } else {
        demoBackends.append(DemoBackend(name: name, address: address))
      }
    }
  }

  private mutating func addDemoListener(_ name: String, at address: ListenAddress) {
    var response = Response()
    response.body = "Hello from \(name)\n"
    var route = Route(.respond(response))
    route.listeners = [name]
    listeners.append(Listener(name: name, listen: [address]))
    routes.append(route)
  }
}
