// What would happen to a connection to a TCP listener: the route by its server name, and the pool.
// `tcp://` is a client that sends no name; `tls://` one that asks for the host, and perhaps for a
// protocol of ALPN behind a slash.

import Balancing
import Configuration
import Primitives
import Proxy

/// The parts of `tcp://HOST:PORT` or `tls://HOST:PORT/PROTOCOL`.
struct ConnectionTarget {
  let isTLS: Bool
  let host: String
  let port: String
  let alpn: String

  init?(_ text: String) {
    let parts = text.split(separator: "://", maxSplits: 1)
    guard parts.count == 2, parts[0] == "tcp" || parts[0] == "tls" else { return nil }
    isTLS = parts[0] == "tls"
    let rest = parts[1].split(separator: "/", maxSplits: 1)
    guard let authority = rest.first, let colon = authority.lastIndex(of: ":") else { return nil }
    host = String(authority[..<colon])
    port = String(authority[authority.index(after: colon)...])
    alpn = rest.count == 2 ? String(rest[1]) : ""
    if host.isEmpty || port.isEmpty { return nil }
  }
}

extension Explanation {
  func explain(_ target: ConnectionTarget, named name: String?) -> AdminDocument {
    let listeners = view.configuration.listeners
    let index = listeners.indices.first { index in
      let listener = listeners[index]
      if listener.protocol != .tcp || name.map({ $0 != listener.name }) ?? false { return false }
      return view.addresses.contains {
        $0.listener == listener.name && $0.address.hasSuffix(":\(target.port)")
      }
    }
    guard let index, let rules = view.snapshot.listeners[index].tcp else {
      return .error(404, "no TCP listener has port \(target.port)")
    }
    let listener = listeners[index]
    return AdminDocument { json in
      json.member("method", "CONNECT")
      json.member("url", "\(target.isTLS ? "tls" : "tcp")://\(target.host):\(target.port)")
      json.member("listener", listener.name)
      if listener.tls != nil && !target.isTLS {
        json.member("answer", "closed, because this listener expects TLS")
        return
      }
      if rules.hasRoutes && !target.isTLS {
        json.member("answer", "closed, because the routes need TLS (malformed-head: not-tls)")
        return
      }
      let host = target.isTLS ? Array(target.host.utf8) : []
      let alpn = Array(target.alpn.utf8)
      let pool = rules.pool(for: host.span) { offer in
        offer.count == alpn.count && offer.indices.allSatisfy { offer[$0] == alpn[$0] }
      }
      guard let pool else {
        json.member("answer", "closed, no route matches (no-route)")
        return
      }
      json.member("action", "forward to \(view.snapshot.pools[pool].pool.name)")
      explainPool(view.snapshot.pools[pool].pool.name, to: &json)
    }
  }
}
