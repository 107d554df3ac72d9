// UDP listeners: keys that have no meaning for datagrams, and the pools that get them.

import Primitives

extension Configuration {
  /// The pools to which UDP listeners forward.
  public var udpPools: Set<String> {
    Set(listeners.filter { $0.protocol == .udp }.compactMap(\.pool))
  }

  /// Sets the checks of pools of UDP listeners. There is none by default: what a service expects is
  /// not known, and an empty datagram ends some programs.
  mutating func completeUDP(_ decoder: inout Decoder) {
    let udp = udpPools
    if udp.isEmpty { return }
    for index in pools.indices where udp.contains(pools[index].name) {
      let path = "pools[\(index)].health"
      if !decoder.has(path) {
        pools[index].health = nil
      } else if !decoder.has("\(path).check") {
        pools[index].health?.check = .udp
      }
    }
  }

  func checkUDP(_ decoder: inout Decoder) {
    for (index, listener) in listeners.enumerated() where listener.protocol == .udp {
      let path = "listeners[\(index)]"
      let refused = [
        ("tls", "DTLS is not supported; without tls, datagrams pass through as they are"),
        ("routes", "a UDP listener has no routes; its datagrams go to its pool"),
        ("alpn", "a UDP listener has no TLS"),
        ("max-connections", "a UDP listener has sessions: write max-sessions"),
        (
          "max-connections-per-client", "a UDP listener has sessions: write max-sessions-per-client"
        ),
      ]
      for (key, reason) in refused where decoder.has("\(path).\(key)") {
        decoder.report(key: "\(path).\(key)", reason)
      }
      for key in Self.httpKeys + ["backlog", "tcp-keep-alive"]
      where decoder.has("\(path).\(key)") {
        decoder.report(
          key: "\(path).\(key)", "it has no effect, because a UDP listener has no connections",
          severity: .warning)
      }
      if listener.sessions.perDatagram && listener.sessions.responses != nil {
        decoder.report(
          key: "\(path).per-datagram",
          "with responses, a session ends after its replies, and the next datagram selects a"
            + " backend anyway", severity: .warning)
      }
    }
    let udp = udpPools
    let tcp = tcpPools
    for (index, pool) in pools.enumerated() where !decoder.hasGap(in: "pools") {
      let path = "pools[\(index)]"
      if udp.contains(pool.name) {
        if tcp.contains(pool.name) {
          decoder.report(
            key: path,
            "a TCP and a UDP listener forward to this pool; add another pool with the same backends"
          )
        }
        checkUDPPool(pool, path, &decoder)
      } else if pool.health?.check == .udp {
        decoder.report(
          key: "\(path).health.check", "only a pool of a UDP listener has it",
          suggestion: "\"check\": \"tcp\"")
      }
    }
  }

  private func checkUDPPool(_ pool: Pool, _ path: String, _ decoder: inout Decoder) {
    for key in ["protocol", "stickiness"] where decoder.has("\(path).\(key)") {
      decoder.report(
        key: "\(path).\(key)", "the pool gets datagrams of a UDP listener, and no requests")
    }
    if pool.tls != nil {
      decoder.report(key: "\(path).tls", "the pool gets datagrams, and DTLS is not supported")
    }
    for key in [
      "timeouts", "keep-alive", "tcp-keep-alive", "queue", "desync", "retry.budget-percent",
      "retry.budget-minimum", "retry.replay-size", "retry.statuses", "retry.grpc-statuses",
    ] where decoder.has("\(path).\(key)") {
      decoder.report(
        key: "\(path).\(key)",
        "it has no effect, because the pool gets datagrams of a UDP listener", severity: .warning)
    }
    if pool.hashKey.needsRequest {
      decoder.report(
        key: "\(path).hash-key",
        "a pool of a UDP listener has no requests with \(pool.hashKey); write \"source\","
          + " \"2-tuple\", \"3-tuple\" or \"5-tuple\"")
    }
    if pool.health?.check == .grpc {
      decoder.report(
        key: "\(path).health.check", "a pool of a UDP listener has no gRPC",
        suggestion: "\"check\": \"udp\"")
    }
    if pool.proxyProtocol?.version == .v1 {
      decoder.report(
        key: "\(path).proxy-protocol", "v1 can't describe datagrams", suggestion: "\"v2\"")
    }
    for (index, backend) in pool.backends.enumerated() {
      if case .address(.unix) = backend.endpoint {
        decoder.report(
          key: "\(path).backends[\(index)]",
          "a pool of a UDP listener needs addresses with ports, and no Unix sockets")
      }
    }
  }

  /// An error on other listeners, because it would be no limit there.
  func checkSessionKeys(of listener: Listener, _ path: String, _ decoder: inout Decoder) {
    for key in Self.udpKeys where decoder.has("\(path).\(key)") {
      decoder.report(
        key: "\(path).\(key)", "only UDP listeners have it",
        suggestion: "\"protocol\": \"udp\" beside it")
    }
  }
}
