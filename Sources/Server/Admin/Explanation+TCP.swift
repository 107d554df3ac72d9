// What would happen to a connection to a TCP listener: the route by its server name, and the pool.
// Also to datagrams of a UDP listener (`udp://`).
// `tcp://` is a client that sends no name; `tls://` one that asks for the host, and perhaps for a
// protocol of ALPN behind a slash.

import Balancing
import Configuration
import Primitives
import Proxy

/// The parts of `tcp://HOST:PORT`, `tls://HOST:PORT/PROTOCOL` or `udp://HOST:PORT`.
struct ConnectionTarget {
  let isTLS: Bool
  let isUDP: Bool
  let host: String
  let port: String
  let alpn: String

  init?(_ text: String) {
    let parts = text.split(separator: "://", maxSplits: 1)
    guard parts.count == 2, ["tcp", "tls", "udp"].contains(parts[0]) else { return nil }
    isUDP = parts[0] == "udp"
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
      let isMeant = listener.protocol == (target.isUDP ? .udp : .tcp)
      if !isMeant || name.map({ $0 != listener.name }) ?? false { return false }
      return view.addresses.contains {
        $0.listener == listener.name && $0.address.hasSuffix(":\(target.port)")
      }
    }
    if let index, let rules = view.snapshot.listeners[index].udp {
      return explain(target, listeners[index], rules)
    }
    if target.isUDP { return .error(404, "no UDP listener has port \(target.port)") }
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

  private func explain(
    _ target: ConnectionTarget, _ listener: Configuration.Listener, _ rules: SessionRules
  ) -> AdminDocument {
    AdminDocument { json in
      json.member("method", "SEND")
      json.member("url", "udp://\(target.host):\(target.port)")
      json.member("listener", listener.name)
      if let senders = listener.proxyProtocol {
        let from = senders.from.map { "\($0)" }.joined(separator: ", ")
        json.member("accepts", "datagrams with a PROXY header, only from \(from)")
      }
      json.member("action", "forward to \(view.snapshot.pools[rules.pool].pool.name)")
      explainPool(view.snapshot.pools[rules.pool].pool.name, to: &json)
    }
  }
}
