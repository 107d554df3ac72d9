// The lines about a pool in the summary of `martlet check`: its strategy and backends, how their
// health is found out, and the times that apply to what the pool carries.

extension Configuration {
  func summary(of pool: Pool, all: Bool) -> [String] {
    var lines = [Self.headText(pool) + "  \(spoken(by: pool))"]
    let backends = pool.backends.map { Self.text($0, in: pool) }
    lines += all ? backends : Self.shortened(backends)
    if let failover = failoverText(pool) { lines.append(failover) }
    if let tls = pool.tls { lines.append(Self.text(tls)) }
    if let header = pool.proxyProtocol {
      let place = spoken(by: pool) == "udp" ? "in each datagram" : "a connection for each client's"
      lines.append("PROXY protocol \(header.text), \(place)")
    }
    if pool.sourceAddress == .client {
      lines.append("from the client's address, a connection for each client's")
    }
    lines.append(Self.healthText(pool))
    switch spoken(by: pool) {
    case "tcp": lines.append(Self.flowTimeText(pool))
    case "udp": lines.append("max-attempts \(pool.retry.maxAttempts)")
    default: lines.append(Self.timeText(pool))
    }
    return lines.enumerated().map { $0.offset == 0 ? $0.element : "           " + $0.element }
  }

  private static func headText(_ pool: Pool) -> String {
    var text = "pool     \(pool.name)  \(pool.strategy.rawValue)"
    if pool.strategy == .maglev { text += " of \(pool.hashKey)" }
    if let percent = pool.boundedLoad { text += ", bounded-load \(Form<Int>.text(percent))" }
    return text
  }

  private static func text(_ backend: Backend, in pool: Pool) -> String {
    var text = "\(backend.address)"
    if let name = backend.name { text += "  name \(name)" }
    if pool.strategy.usesWeights && backend.weight != 1 { text += "  weight \(backend.weight)" }
    if let most = backend.maxConnections { text += "  max-connections \(most)" }
    if backend.isBackup { text += "  backup" }
    if let tier = backend.tier { text += "  tier \(tier)" }
    if let zone = backend.zone { text += "  zone \(zone)" }
    return text
  }

  /// Nil if each tier is used only while no earlier one is available, and there are no zones.
  private func failoverText(_ pool: Pool) -> String? {
    var parts: [String] = []
    if let failover = pool.failover {
      parts.append("failover factor \(Form<Int>.text(failover.factor))")
      if let percent = failover.panicPercent {
        parts.append("health is ignored if fewer than \(percent) % are healthy")
      }
    }
    if let zone = pool.zone ?? zone, pool.backends.contains(where: { $0.zone != nil }) {
      parts.append("own zone \(zone)")
    }
    if pool.whenAllDown == .failOpen { parts.append("when-all-down fail-open") }
    return parts.isEmpty ? nil : parts.joined(separator: "; ")
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
      let port = health.port.map { " of port \($0)" } ?? ""
      parts.append(
        "\(health.check.rawValue) check\(port)\(target(of: health)) every"
          + " \(durationText(health.interval)), up after \(health.rise), down after"
          + " \(health.fall)")
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

  private static func target(of health: Health) -> String {
    switch health.check {
    case .tcp, .udp:
      guard let reply = health.reply else { return "" }
      let sent = health.send.map { " of \(JSON.quoted($0))" } ?? ""
      return "\(sent) for the reply \(JSON.quoted(reply))"
    case .http: return " GET \(health.path)"
    case .grpc: return health.service.isEmpty ? "" : " of \(health.service)"
    }
  }

  /// The times of requests.
  private static func timeText(_ pool: Pool) -> String {
    let times = pool.timeouts
    let calls = times.grpcMax.map { ", grpc-max \(durationText($0))" } ?? ""
    let age = pool.keepAlive.maxAge.map { ", keep-alive up to \(durationText($0))" } ?? ""
    let statuses = pool.retry.grpcStatuses.map(\.rawValue).joined(separator: ", ")
    return "timeouts: request \(durationText(times.request)), response"
      + " \(durationText(times.response)), connect \(durationText(times.connect))\(calls)\(age);"
      + " max-attempts \(pool.retry.maxAttempts)"
      + (statuses.isEmpty ? "" : ", also after grpc-statuses \(statuses)")
  }

  /// The times of connections of TCP listeners.
  private static func flowTimeText(_ pool: Pool) -> String {
    let times = pool.timeouts
    return "timeouts: connect \(durationText(times.connect)), relay-idle"
      + " \(durationText(times.relayIdleTime(isTCP: true))), idle"
      + " \(durationText(times.idleTime(isTCP: true))) after one side has finished;"
      + " max-attempts \(pool.retry.maxAttempts)"
  }
}
