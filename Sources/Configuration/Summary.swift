// A summary of a configuration on one screen, for `martlet check`.

extension Configuration {
  /// Lines of text; each ends with a line feed. With `all`, no list is shortened.
  public func summary(all: Bool = false) -> String {
    var lines: [String] = []
    for listener in listeners {
      let listen = listener.listen.map(\.text).joined(separator: ", ")
      let name = listener.name == listener.listen.first?.text ? "" : " (\(listener.name))"
      lines.append("listen   \(listen)\(name)  \(Self.protocolText(listener))")
      if let senders = listener.proxyProtocol {
        let from = senders.from.map { "\($0)" }.joined(separator: ", ")
        lines.append("           PROXY protocol, from \(from) only")
      }
      let routes =
        routes(on: listener).map { "           \(Self.text($0))" }
        + places(on: listener).map { "           \($0) -> pool \($0.pool)" }
      lines += all ? routes : Self.shortened(routes)
      if let pool = listener.pool { lines.append("           * -> pool \(pool)") }
    }
    for pool in pools {
      lines.append("pool     \(pool.name)  \(pool.strategy.rawValue)  \(spoken(by: pool))")
      let backends = pool.backends.map { backend in
        var text = "           \(backend.address)"
        if pool.strategy.usesWeights && backend.weight != 1 { text += "  weight \(backend.weight)" }
        if let most = backend.maxConnections { text += "  max-connections \(most)" }
        if backend.isBackup { text += "  backup" }
        if let tier = backend.tier { text += "  tier \(tier)" }
        if let zone = backend.zone { text += "  zone \(zone)" }
        return text
      }
      lines += all ? backends : Self.shortened(backends)
      if let tls = pool.tls { lines.append("           \(Self.text(tls))") }
      if let header = pool.proxyProtocol {
        let place =
          spoken(by: pool) == "udp" ? "in each datagram" : "a connection for each client's"
        lines.append("           PROXY protocol \(header.text), \(place)")
      }
      if pool.sourceAddress == .client {
        lines.append("           from the client's address, a connection for each client's")
      }
      lines.append("           \(Self.healthText(pool))")
      lines.append(
        spoken(by: pool) == "udp"
          ? "           max-attempts \(pool.retry.maxAttempts)"
          : "           \(Self.timeText(pool))")
    }
    let body = limits.bodySize.map(sizeText) ?? "any size"
    lines.append(
      "limits   \(limits.connections) connections, heads of \(sizeText(limits.headSize)),"
        + " bodies of \(body)")
    lines.append(
      "log      access \(log.access) to \(log.target), level \(log.level.rawValue)")
    lines.append("workers  \(workers.map(String.init) ?? "one per processor")")
    return lines.map { $0 + "\n" }.joined()
  }

  /// The first lines of a long list, so that all fits on a screen.
  private static func shortened(_ lines: [String]) -> [String] {
    let shown = 12
    if lines.count <= shown + 1 { return lines }
    return lines.prefix(shown)
      + ["           ... and \(lines.count - shown) more, which --all shows"]
  }

  private static func protocolText(_ listener: Listener) -> String {
    var spoken = listener.protocol.rawValue
    if listener.protocol == .udp {
      spoken += sessionText(listener.sessions)
    } else if listener.protocol == .http {
      let versions = listener.spokenProtocols.map(\.rawValue).joined(separator: ", ")
      spoken = "\(listener.tls == nil ? "http" : "https")  \(versions)"
    } else if listener.tls == nil && !listener.routes.isEmpty {
      spoken += "  TLS passed through"
    }
    guard let tls = listener.tls else { return spoken }
    let certificates = tls.certificates.map(\.chain).joined(separator: ", ")
    let version = tls.policy == .modern ? "1.3" : tls.minimumVersion.rawValue
    let hsts = listener.hsts == nil ? "" : ", HSTS"
    return "\(spoken)  TLS \(version)\(version == "1.3" ? "" : " and later"), "
      + "\(certificates)\(hsts)"
  }

  private static func sessionText(_ sessions: Sessions) -> String {
    var parts = ["  \(sessions.max) sessions", "idle \(durationText(sessions.idleTime))"]
    if let count = sessions.responses { parts.append("responses \(count)") }
    if sessions.perDatagram { parts.append("per datagram") }
    return parts.joined(separator: ", ")
  }

  private static func text(_ route: Route) -> String {
    let action =
      switch route.action {
      case .forward(let pool): "pool \(pool)"
      case .redirect(let redirect):
        "redirect \(redirect.status) to " + text(redirect)
      case .respond(let response): "respond \(response.status)"
      }
    return "\(route) -> \(action)\(route.translatesGRPCWeb ? ", grpc-web" : "")"
  }

  private static func text(_ redirect: Redirect) -> String {
    let port = redirect.port.map { ":\($0)" } ?? ""
    return "\(redirect.scheme?.rawValue ?? "(scheme)")://\(redirect.host ?? "(host)")\(port)"
      + (redirect.path ?? "(path)")
  }

  private static func text(_ tls: BackendTLS) -> String {
    let version = tls.minimumVersion
    var parts = ["TLS \(version.rawValue)\(version == .tls13 ? "" : " and later")"]
    switch tls.verification {
    case .on: parts.append("verified by \(tls.authority ?? "the system's authorities")")
    case .off: parts.append("certificates not verified")
    }
    if let name = tls.serverName { parts.append("for \(name)") }
    if !tls.pins.isEmpty { parts.append("\(tls.pins.count) pins") }
    if let certificate = tls.certificate { parts.append("with \(certificate.chain)") }
    return parts.joined(separator: ", ")
  }

  private static func healthText(_ pool: Pool) -> String {
    var parts: [String] = []
    if let health = pool.health {
      let target =
        switch health.check {
        case .tcp, .udp: ""
        case .http: " GET \(health.path)"
        case .grpc: health.service.isEmpty ? "" : " of \(health.service)"
        }
      parts.append(
        "\(health.check.rawValue) check\(target) every \(durationText(health.interval)), up after"
          + " \(health.rise), down after \(health.fall)")
    } else {
      parts.append("no health checks")
    }
    if let ejection = pool.ejection { parts.append("ejected after \(ejection.failures) failures") }
    if let span = pool.slowStart { parts.append("slow start \(durationText(span))") }
    if let stickiness = pool.stickiness { parts.append("cookie \(stickiness.cookie)") }
    if let queue = pool.queue, pool.backends.contains(where: { $0.maxConnections != nil }) {
      parts.append("queue \(queue.size), up to \(durationText(queue.timeout))")
    }
    return parts.joined(separator: "; ")
  }

  private static func timeText(_ pool: Pool) -> String {
    let times = pool.timeouts
    let calls = times.grpcMax.map { ", grpc-max \(durationText($0))" } ?? ""
    let statuses = pool.retry.grpcStatuses.map(\.rawValue).joined(separator: ", ")
    return "timeouts: request \(durationText(times.request)), response"
      + " \(durationText(times.response)), connect \(durationText(times.connect))\(calls);"
      + " max-attempts \(pool.retry.maxAttempts)"
      + (statuses.isEmpty ? "" : ", also after grpc-statuses \(statuses)")
  }
}
