// What would happen to a connection to a TCP listener: the route by its server name, the pool, and
// the backend if the strategy has a fixed one for the client. Also to datagrams of a UDP listener
// (`udp://`). `tcp://` is a client that sends no name; `tls://` one that asks for the host, and
// perhaps for a protocol of ALPN behind a slash.

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
  func explain(_ target: ConnectionTarget, _ query: [String: String]) -> AdminDocument {
    let name = query["listener"]
    let client: ExplainedClient
    do throws(ExplainedClient.Mistake) {
      client = try ExplainedClient(query)
    } catch {
      return .error(400, error.message)
    }
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
      return explain(target, listeners[index], rules, client)
    }
    if target.isUDP { return .error(404, "no UDP listener has port \(target.port)") }
    guard let index, let rules = view.snapshot.listeners[index].tcp else {
      return .error(404, missing(target))
    }
    let listener = listeners[index]
    return AdminDocument { json in
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
      let settings = view.snapshot.pools[pool]
      json.member("action", "forward to \(settings.pool.name)")
      let kept = backend(
        of: client, to: destination(of: target, at: listener), number: Flow.tcp, in: settings)
      explainPool(settings.pool.name, kept, to: &json)
    }
  }

  /// Where the client connects to; nil if the target is a name, and the listener has not just one
  /// address.
  private func destination(
    of target: ConnectionTarget, at listener: Configuration.Listener
  ) -> (address: IPAddress, port: UInt16)? {
    guard let port = UInt16(target.port) else { return nil }
    let host = target.host.hasPrefix("[") ? String(target.host.dropFirst().dropLast()) : target.host
    if let address = IPAddress(host) { return (address, port) }
    let own = listener.addresses.compactMap(\.ip)
    return own.count == 1 && own[0] != .anyV4 && own[0] != .anyV6 ? (own[0], port) : nil
  }

  /// Why there is no listener for it.
  private func missing(_ target: ConnectionTarget) -> String {
    let listeners = view.configuration.listeners
    let other = view.addresses.first { $0.address.hasSuffix(":\(target.port)") }
    if let other, let listener = listeners.first(where: { $0.name == other.listener }),
      listener.protocol == .http
    {
      let scheme = listener.tls == nil ? "http" : "https"
      return "port \(target.port) belongs to the HTTP listener \(listener.name); ask for"
        + " GET \(scheme)://\(target.host):\(target.port)/"
    }
    let names = Set(listeners.filter { $0.protocol == .tcp }.map(\.name))
    let known = view.addresses.filter { names.contains($0.listener) }.map(\.address)
    return "no TCP listener has port \(target.port)"
      + (known.isEmpty ? "" : "; there are \(known.joined(separator: ", "))")
  }

  private func explain(
    _ target: ConnectionTarget, _ listener: Configuration.Listener, _ rules: SessionRules,
    _ client: ExplainedClient
  ) -> AdminDocument {
    AdminDocument { json in
      json.member("url", "udp://\(target.host):\(target.port)")
      json.member("listener", listener.name)
      if let senders = listener.proxyProtocol {
        let from = senders.from.map { "\($0)" }.joined(separator: ", ")
        json.member("accepts", "datagrams with a PROXY header, only from \(from)")
      }
      let settings = view.snapshot.pools[rules.pool]
      json.member("action", "forward to \(settings.pool.name)")
      let kept = backend(
        of: client, to: destination(of: target, at: listener), number: Flow.udp, in: settings)
      explainPool(settings.pool.name, kept, to: &json)
    }
  }
}
