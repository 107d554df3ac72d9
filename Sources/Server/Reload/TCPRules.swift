// Where the connections of a TCP listener go: the pool, by the name and the protocol that the
// client asks for in its TLS handshake, and the listener's own limits.

import Configuration
import HTTP
import Primitives
import Proxy
import Synchronization

final class TCPRules: Sendable {
  /// Of connections without a matching route; nil if they are closed.
  private let standardPool: Int?
  /// The path of an entry is a slash, and behind it the protocol if the route has one.
  private let table: RouteTable
  /// The pool of each route.
  private let pools: [Int]
  /// The protocols that routes name, with a slash in front.
  private let protocols: [[UInt8]]
  /// Open connections, by client too.
  let admission: Admission
  let connectionMax: Int
  let connectionsPerClientMax: Int?

  /// What a connection must match. The first that matches wins.
  struct Route: Sendable {
    var host = RouteMatch.Host.any
    /// Of ALPN; nil for any or none.
    var alpn: String?
    var pool: Int
  }

  init(
    standardPool: Int?, routes: [Route] = [], admission: Admission = Admission(),
    connectionMax: Int = .max, connectionsPerClientMax: Int? = nil
  ) {
    self.standardPool = standardPool
    table = RouteTable(
      routes.map { route in
        RouteMatch(host: route.host, path: route.alpn.map { .exact("/" + $0) } ?? .prefix("/"))
      })
    pools = routes.map(\.pool)
    protocols = Set(routes.compactMap(\.alpn)).sorted().map { Array("/\($0)".utf8) }
    self.admission = admission
    self.connectionMax = connectionMax
    self.connectionsPerClientMax = connectionsPerClientMax
  }

  /// Whether the pool depends on the client's TLS handshake.
  var hasRoutes: Bool { !pools.isEmpty }

  /// The pool for a client that asks for this name, which may be empty. `offers` tells whether it
  /// speaks a protocol.
  func pool(for name: Span<UInt8>, offers: (Span<UInt8>) -> Bool) -> Int? {
    if !hasRoutes { return standardPool }
    var best = table.match(host: name, path: ("/" as StaticString).bytes)
    for spoken in protocols where offers(spoken.span.extracting(1...)) {
      guard let route = table.match(host: name, path: spoken.span) else { continue }
      best = min(best ?? route, route)
    }
    return best.map { pools[$0] } ?? standardPool
  }
}

/// The counts of open connections of TCP listeners, and of sessions of UDP listeners, by the
/// listener's name. They outlive a reload.
final class TCPAdmissions: Sendable {
  private let admissions = Mutex<[String: Admission]>([:])

  func admission(of listener: String) -> Admission {
    admissions.withLock { admissions in
      let admission = admissions[listener] ?? Admission()
      admissions[listener] = admission
      return admission
    }
  }

  /// Forgets those of other listeners.
  func keep(_ listeners: Set<String>) {
    admissions.withLock { $0 = $0.filter { listeners.contains($0.key) } }
  }
}

extension SnapshotBuilder {
  func tcpRules(
    of listener: Configuration.Listener, _ configuration: Configuration, _ pools: [String: Int]
  ) -> TCPRules {
    TCPRules(
      // The configuration has checked that the pools exist.
      standardPool: listener.pool.flatMap { pools[$0] },
      routes: configuration.places(on: listener).map {
        TCPRules.Route(host: .init($0.name), alpn: $0.alpn, pool: pools[$0.pool] ?? 0)
      },
      admission: tcpAdmissions.admission(of: listener.name),
      connectionMax: listener.maxConnections ?? .max,
      connectionsPerClientMax: listener.maxConnectionsPerClient)
  }
}

extension RouteMatch.Host {
  init(_ pattern: Configuration.HostPattern?) {
    self =
      switch pattern {
      case .exact(let name): .exact(name)
      case .below(let suffix): .below(suffix)
      case nil: .any
      }
  }
}
