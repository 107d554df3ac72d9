// The addresses of backends that are given by name, and looking them up again in the background.
//
// A lookup may block for seconds, so it is made on a thread of its own. While one fails, the last
// addresses stay: a name server that is down must not take the site down.

import Configuration
import Primitives
import Reactor
import Synchronization

final class NameTable: Sendable {
  private let content = Mutex<[String: [IPAddress]]>([:])
  private let watched = Mutex<(names: Set<String>, interval: TimeSpan)>(([], .seconds(30)))

  /// The socket addresses of a backend; none while its name has never been resolved.
  func addresses(of endpoint: Configuration.Endpoint) -> [SocketAddress] {
    switch endpoint {
    case .address(let address): [address]
    case .name(let name, let port):
      content.withLock { $0[name] ?? [] }.map { .ip($0, port: port) }
    }
  }

  /// Makes the names in `configuration` the ones to be looked up from now on.
  func watch(_ configuration: Configuration) {
    let named = configuration.pools.filter { !$0.names.isEmpty }
    let names = named.reduce(into: Set()) { $0.formUnion($1.names) }
    let interval = named.map(\.resolveInterval).min() ?? .seconds(30)
    watched.withLock { $0 = (names, interval) }
  }

  /// The time between two lookups of every name.
  var interval: TimeSpan { watched.withLock { $0.interval } }

  /// Looks all names up and returns those whose addresses have changed. `report` is told what
  /// failed.
  func refresh(report: (ResolverError) -> Void) -> Set<String> {
    var changed: Set<String> = []
    for name in watched.withLock({ $0.names }) {
      do throws(ResolverError) {
        // Sorted, because servers rotate the order, which means nothing here.
        let found = try Resolver.addresses(of: name).sorted { "\($0)" < "\($1)" }
        let differs = content.withLock { content in
          if content[name] == found { return false }
          content[name] = found
          return true
        }
        if differs { changed.insert(name) }
      } catch {
        report(error)
      }
    }
    return changed
  }
}

extension Configuration.Pool {
  /// The names among its backends.
  var names: Set<String> {
    var names: Set<String> = []
    for case .name(let name, _) in backends.map(\.endpoint) { names.insert(name) }
    return names
  }
}
