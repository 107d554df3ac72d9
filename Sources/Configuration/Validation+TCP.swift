// TCP listeners: which keys go together, and which pools they use. Pools of UDP listeners are found
// here too.

extension Configuration {
  /// Keys of a listener that are about HTTP.
  static let httpKeys = ["protocols", "redirect-to-https", "hsts", "desync", "half-close"]
  /// Keys that only TCP listeners have.
  private static let tcpKeys = [
    "pool", "routes", "alpn", "max-connections", "max-connections-per-client",
  ]
  /// Keys that only UDP listeners have.
  static let udpKeys = [
    "max-sessions", "max-sessions-per-client", "idle", "responses", "per-datagram",
  ]

  /// Keys of a pool that are about requests and their responses.
  private static let keysOfRequests = [
    "timeouts.response", "timeouts.grpc-max", "retry.statuses", "retry.grpc-statuses",
    "retry.budget-percent", "retry.budget-minimum", "retry.replay-size", "keep-alive", "desync",
  ]

  /// Lets a TCP or UDP listener without a pool forward to the only one.
  mutating func completeTCP(_ decoder: inout Decoder) {
    for index in listeners.indices where listeners[index].protocol != .http {
      let path = "listeners[\(index)]"
      if listeners[index].pool == nil && !decoder.has("\(path).routes")
        && !decoder.has("\(path).pool")
      {
        if pools.count == 1 {
          listeners[index].pool = pools[0].name
        } else {
          decoder.report(
            key: path,
            listeners[index].protocol == .udp
              ? "a UDP listener needs a pool"
              : "a TCP listener needs a pool, or routes that select one",
            suggestion: "\"pool\": ...")
        }
      }
    }
  }

  func checkTCP(_ decoder: inout Decoder) {
    for (index, listener) in listeners.enumerated() {
      let path = "listeners[\(index)]"
      guard listener.protocol == .tcp else {
        if listener.protocol == .http { checkHTTP(listener, path, &decoder) }
        continue
      }
      checkSessionKeys(of: listener, path, &decoder)
      for key in Self.httpKeys where decoder.has("\(path).\(key)") {
        decoder.report(
          key: "\(path).\(key)", "it has no effect, because a TCP listener has no HTTP",
          severity: .warning)
      }
      if listener.tls == nil && !listener.alpn.isEmpty {
        decoder.report(
          key: "\(path).alpn",
          "without tls, the client agrees on a protocol with the backend, not with Martlet")
      }
      checkRoutes(of: listener, path, &decoder)
    }
    if !decoder.hasGap(in: "pools") { checkTCPPools(&decoder) }
  }

  /// An error, because without these keys requests would go elsewhere, or have no limit.
  private func checkHTTP(_ listener: Listener, _ path: String, _ decoder: inout Decoder) {
    // It may be a misspelt "tcp".
    if decoder.hasError(at: "\(path).protocol") { return }
    if routes(on: listener).isEmpty && !decoder.hasErrors {
      decoder.report(
        key: path, "no route is for this listener, so each request gets 404",
        suggestion: tcpPools.isEmpty ? nil : "\"protocol\": \"tcp\" in it", severity: .warning)
    }
    for key in Self.tcpKeys where decoder.has("\(path).\(key)") {
      decoder.report(
        key: "\(path).\(key)", "only TCP listeners have it, and this is an HTTP listener",
        suggestion: "\"protocol\": \"tcp\" beside it")
    }
    checkSessionKeys(of: listener, path, &decoder)
  }

  private func checkRoutes(of listener: Listener, _ path: String, _ decoder: inout Decoder) {
    var seen: Set<String> = []
    for (index, route) in listener.routes.enumerated()
    where !decoder.hasGap(below: "\(path).routes") {
      let place = "\(path).routes[\(index)]"
      // A name or protocol that could not be read is reported already.
      if route.names.isEmpty && decoder.has("\(place).sni")
        || route.alpn.isEmpty && decoder.has("\(place).alpn")
      {
        continue
      }
      if route.names.isEmpty && route.alpn.isEmpty {
        decoder.report(
          key: place, "the route matches every connection; use the pool of the listener for that")
      }
      for name in route.alpn where listener.tls != nil && !listener.alpn.contains(name) {
        decoder.report(
          key: "\(place).alpn",
          "clients can't agree on \(JSON.quoted(name)), because it is not in the alpn of the"
            + " listener")
      }
      var single = listener
      single.routes = [route]
      for entry in places(on: single) where !seen.insert("\(entry)").inserted {
        decoder.report(key: place, "another route of this listener has the same match: \(entry)")
      }
    }
  }

  private func checkTCPPools(_ decoder: inout Decoder) {
    let known = pools.map(\.name)
    for (index, listener) in listeners.enumerated() where listener.protocol != .http {
      var uses = [("listeners[\(index)].pool", listener.pool ?? "")]
      for (place, route) in listener.routes.enumerated() {
        uses.append(("listeners[\(index)].routes[\(place)].pool", route.pool))
      }
      for (key, name) in uses where !name.isEmpty && !known.contains(name) && decoder.has(key) {
        report(unknown: name, "pool", among: known, key: key, &decoder)
      }
    }
    let (tcp, udp) = (tcpPools, udpPools)
    let protocols = Dictionary(
      listeners.map { ($0.name, $0.protocol) }, uniquingKeysWith: { first, _ in first })
    for (index, route) in routes.enumerated() {
      if case .forward(let name) = route.action, tcp.contains(name) || udp.contains(name) {
        decoder.report(
          key: "routes[\(index)].forward",
          "the pool \(JSON.quoted(name)) belongs to a \(tcp.contains(name) ? "TCP" : "UDP")"
            + " listener; add another pool with the same backends for requests")
      }
      for (position, name) in route.listeners.enumerated() {
        guard let spoken = protocols[name], spoken != .http else { continue }
        decoder.report(
          key: "routes[\(index)].listeners[\(position)]",
          spoken == .tcp
            ? "\(JSON.quoted(name)) is a TCP listener; it has routes of its own"
            : "\(JSON.quoted(name)) is a UDP listener; it has no routes")
      }
    }
    for (index, pool) in pools.enumerated() where tcp.contains(pool.name) {
      let path = "pools[\(index)]"
      for key in ["protocol", "stickiness"] where decoder.has("\(path).\(key)") {
        decoder.report(
          key: "\(path).\(key)", "the pool gets connections of a TCP listener, and no requests")
      }
      for key in Self.keysOfRequests where decoder.has("\(path).\(key)") {
        decoder.report(
          key: "\(path).\(key)",
          "it has no effect, because the pool gets connections of a TCP listener, and no requests",
          severity: .warning)
      }
      if pool.hashKey.needsRequest {
        decoder.report(
          key: "\(path).hash-key",
          "a pool of a TCP listener has no requests with \(pool.hashKey); write \"source\","
            + " \"2-tuple\", \"3-tuple\" or \"5-tuple\"")
      }
      if pool.health?.check == .grpc {
        decoder.report(
          key: "\(path).health.check", "a pool of a TCP listener has no gRPC",
          suggestion: "\"check\": \"tcp\"")
      }
    }
  }
}
