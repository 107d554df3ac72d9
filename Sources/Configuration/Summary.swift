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
        routes(on: listener).map(Self.text)
        + places(on: listener).map { "\($0) -> pool \($0.pool)" }
      lines += (all ? routes : Self.shortened(routes)).map { "           \($0)" }
      if let pool = listener.pool { lines.append("           * -> pool \(pool)") }
      if let limits = Self.limitText(listener) { lines.append("           \(limits)") }
    }
    for pool in pools { lines += summary(of: pool, all: all) }
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
  static func shortened(_ lines: [String]) -> [String] {
    let shown = 12
    if lines.count <= shown + 1 { return lines }
    return lines.prefix(shown)
      + ["... and \(lines.count - shown) more, which --all shows"]
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
    if !listener.alpn.isEmpty { spoken += "  ALPN \(listener.alpn.joined(separator: ", "))" }
    guard let tls = listener.tls else { return spoken }
    let certificates = tls.certificates.map(\.chain).joined(separator: ", ")
    let version = tls.policy == .modern ? "1.3" : tls.minimumVersion.rawValue
    let hsts = listener.hsts == nil ? "" : ", HSTS"
    return "\(spoken)  TLS \(version)\(version == "1.3" ? "" : " and later"), "
      + "\(certificates)\(hsts)"
  }

  private static func limitText(_ listener: Listener) -> String? {
    let limits = [
      listener.maxConnections.map { "max-connections \($0)" },
      listener.maxConnectionsPerClient.map { "max-connections-per-client \($0)" },
    ].compactMap(\.self)
    return limits.isEmpty ? nil : limits.joined(separator: ", ")
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
}
