// The state of the process for people at a terminal: `martlet status`, `martlet top`, and curl.

import Balancing
import Configuration
import Metrics
import Primitives
import Reactor

struct StatusText {
  let view: AdminView
  let history: History
  let now: Instant

  func write() -> [UInt8] {
    let total = MetricsSnapshot(of: view.process.metrics)
    let wall = Double(SystemClock.wall()) / 1e9
    let stage = view.isDraining ? "draining" : "serving"
    var lines = [
      "martlet \(view.process.version)  process \(view.process.id)  \(stage)"
        + "  up \(Self.span(wall - view.process.startedAt))"
        + "  \(view.process.metrics.count) workers"
    ]
    if view.overload != .normal { lines.append("overload  \(view.overload.name)") }
    lines.append(
      "requests  \(total[.requests]) in total, \(Self.rates(history.rate(of: \.requests)));"
        + " \(total[.retries]) retries")
    lines.append(
      "errors    \(total[.responses5xx]) with 5xx, \(Self.rates(history.rate(of: \.errors)))")
    lines += tcpLines(total)
    let refused = Metric.refusals.reduce(0) { $0 + total[$1] }
    lines.append(
      "clients   \(total[.downstreamConnectionsActive]) connections,"
        + " \(total[.exchangesActive]) exchanges, \(total[.exchangesWaiting]) waiting"
        + (refused > 0 ? "; \(refused) connections refused by limits" : ""))
    let (level, configured) = (view.process.log.level, view.configuration.log.level)
    if level != configured {
      lines.append(
        "log       level \(level.rawValue) (in the configuration: \(configured.rawValue))")
    }
    if total[.accessLogLinesDropped] > 0 {
      let rates = Self.rates(history.rate(of: \.droppedLines))
      lines.append("dropped   \(total[.accessLogLinesDropped]) lines of the access log, \(rates)")
    }
    for line in view.reload.refusal {
      lines.append("refused   the last reload: \(line)")
    }
    for certificate in view.certificates where certificate.daysLeft(at: wall) < 30 {
      let days = Int(certificate.daysLeft(at: wall).rounded(.down))
      lines.append(
        days < 0
          ? "expired   \(certificate.path)" : "expires   \(certificate.path) in \(days) days")
    }
    for (index, settings) in view.snapshot.pools.enumerated() {
      lines.append("")
      lines += poolLines(settings, view.configuration.pools[index])
    }
    return Array((lines.joined(separator: "\n") + "\n").utf8)
  }

  /// The connections of TCP listeners: of all together, and of each.
  private func tcpLines(_ total: MetricsSnapshot) -> [String] {
    let listeners = view.configuration.listeners.filter { $0.protocol == .tcp }
    let readings = listeners.map { ($0.name, view.process.reading(.listener($0.name))) }
    let ended = (ok: total[.tcpCompleted], failed: total[.tcpFailed])
    if listeners.isEmpty && ended.ok + ended.failed == 0 { return [] }
    let open = readings.reduce(0) { $0 + $1.1.connectionCount }
    let rates = Self.rates(history.rate(of: \.tcpConnections))
    let head =
      "tcp       \(open) open, \(ended.ok) ended well, \(ended.failed) failed; \(rates)"
    let shown = readings.prefix(Self.listenersShown).map { name, reading in
      "  \(name)  \(reading.connectionCount) open, \(reading[.tcpCompleted]) ended well,"
        + " \(reading[.tcpFailed]) failed, \(reading.refusedCount) refused;"
        + " received \(Self.bytes(reading[.receivedBytes])),"
        + " sent \(Self.bytes(reading[.sentBytes]))"
    }
    let rest = readings.count - shown.count
    return [head] + shown + (rest > 0 ? ["  ... and \(rest) more, which --json shows"] : [])
  }

  private static let listenersShown = 20

  private func poolLines(
    _ settings: PoolSettings, _ configured: Configuration.Pool
  ) -> [String] {
    let pool = settings.pool
    let past = history.pools[pool.name]
    let unresolved = view.names.unresolved(in: configured)
    let count = pool.membership.members.count + unresolved.count
    let spoken = view.configuration.spoken(by: configured)
    var head = "pool \(pool.name)  \(configured.strategy.rawValue)  \(spoken)"
    if let tls = settings.tls { head += tls.isVerified ? "  TLS" : "  TLS, NOT VERIFIED" }
    if let header = configured.proxyProtocol { head += "  PROXY \(header.version.rawValue)" }
    head += "  \(pool.upCount(at: now)) of \(count) up"
    if let quantiles = past?.quantiles, let p50 = quantiles.p50 {
      head += "  p50 \(Self.milliseconds(p50))  p99 \(Self.milliseconds(quantiles.p99 ?? p50))"
    }
    if pool.record.line.count > 0 { head += "  \(pool.record.line.count) waiting" }
    var rows = [
      [
        "  BACKEND", "CONDITION", "PROTOCOL", "WEIGHT", "ACTIVE", "ATT/S 1S", "ATT/S 10S",
        "ATTEMPTS", "FAILED", "LAST FAILURE",
      ]
    ]
    // Connections have no version of HTTP.
    let hasVersions = settings.protocol.isHTTP
    for member in pool.membership.members {
      let record = member.record
      let reading = view.process.reading(record.identity)
      let condition = BackendCondition(record, at: now).rawValue + member.placeText
      let override = record.weightOverride.map { "\($0) (configured: \(member.weight))" }
      let weight = override ?? "\(member.weight)"
      let failure = reading.lastFailure.map {
        let cause = FailureWord(rawValue: $0.place)?.name ?? "-"
        return "\(cause), \(Self.span(Double((now - $0.at).microseconds) / 1e6)) ago"
      }
      let (second, ten) = Self.rates(past?.backends[record.identity.address])
      rows.append([
        "  \(record.identity.address)", condition, record.spoken.map { "\($0.name)" } ?? "-",
        weight, "\(record.activeCount)", second, ten, "\(reading[.attempts])",
        "\(reading.failureCount)",
        record.failedCheck(settings.check).map { "check: \($0)" } ?? failure ?? "",
      ])
    }
    for unresolved in unresolved {
      let backend = unresolved.backend
      rows.append([
        "  \(backend.endpoint)",
        BackendCondition.unresolved.rawValue
          + (backend.tierInForce > 0 ? " (tier \(backend.tierInForce))" : ""), "-",
        "\(backend.weight)", "0", "", "", "0", "0", unresolved.reason,
      ])
    }
    // Of those that have addresses still.
    let stale = configured.names.sorted().compactMap { name -> String? in
      let known = view.names[name]
      guard let failure = known.failure, !known.addresses.isEmpty else { return nil }
      return "  \(name) can't be looked up, and its last addresses are kept: \(failure)"
    }
    let levels = pool.levelText(at: now).map { [$0] } ?? []
    if !hasVersions { for index in rows.indices { rows[index].remove(at: 2) } }
    return [head] + levels + Self.warning(settings, past) + TextTable.lines(rows) + stale
  }

  /// A warning if no backend is available, or if almost all requests or connections fail.
  private static func warning(
    _ settings: PoolSettings, _ past: History.PoolHistory?
  ) -> [String] {
    let pool = settings.pool
    if let effect = pool.effectOfOutage { return ["  NO BACKEND IS AVAILABLE: \(effect)"] }
    let isFailing =
      past?.backends.values.isFailing(countsResponses: settings.protocol.isHTTP) ?? false
    return isFailing
      ? ["  ALMOST ALL \(settings.protocol.carried.uppercased()) FAIL: see LAST FAILURE"] : []
  }

  /// Attempts within the last second and the last ten; empty if there are no samples.
  private static func rates(_ backend: BackendHistory?) -> (String, String) {
    guard let backend, backend.isSampled else { return ("", "") }
    let ten = backend.recent.map { Double($0.traffic.attempts) / Double($0.seconds) } ?? 0
    return ("\(backend.lastSecond?.attempts ?? 0)/s", "\(decimal(ten))/s")
  }

  private static func rates(_ rate: History.Rate) -> String {
    "\(decimal(rate.second))/s in the last second, \(decimal(rate.tenSeconds))/s in ten"
  }

  private static func bytes(_ count: UInt64) -> String {
    var (value, unit) = (Double(count), 0)
    let units = ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 && unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
    return "\(decimal(value)) \(units[unit])"
  }

  /// With one digit below ten, unless that is 0.
  static func decimal(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    if value >= 10 || tenths % 10 == 0 { return "\(Int(value.rounded()))" }
    return "\(tenths / 10).\(tenths % 10)"
  }

  static func milliseconds(_ microseconds: Double) -> String {
    let hundredths = Int((microseconds / 10).rounded())
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest) ms"
  }

  /// The two largest units of a time.
  static func span(_ seconds: Double) -> String {
    let whole = max(0, Int(seconds))
    switch whole {
    case ..<60: return "\(whole)s"
    case ..<3600: return "\(whole / 60)m \(whole % 60)s"
    case ..<86_400: return "\(whole / 3600)h \(whole / 60 % 60)m"
    default: return "\(whole / 86_400)d \(whole / 3600 % 24)h"
    }
  }
}
