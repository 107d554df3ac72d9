// The state of the process as JSON: `GET /v1/state`, for the dashboard and for programs.
// docs/openapi.json describes it.

import Balancing
import Configuration
import Metrics
import Primitives
import Reactor

struct StateReport {
  let view: AdminView
  let history: History
  let now: Instant
  /// Backends of one pool that are shown; of larger pools those that aren't up come first.
  var backendMax = Int.max

  /// Wall-clock seconds of an instant, as far as that can be said.
  private func unixSeconds(_ instant: Instant) -> Double {
    Double(SystemClock.wall()) / 1e9 - Double((now - instant).microseconds) / 1e6
  }

  func writeLogLevel(to json: inout JSONWriter) {
    json.writeLogLevel(
      view.process.log.level, configured: view.configuration.log.level)
  }

  func write(to json: inout JSONWriter) {
    let total = MetricsSnapshot(of: view.process.metrics)
    let wall = Double(SystemClock.wall()) / 1e9
    json.member("version", view.process.version)
    json.member("commit", BuildFacts.commit)
    json.member("process", Int(view.process.id))
    json.member("state", view.isDraining ? "draining" : "serving")
    json.member("overload", "\(view.overload.name)")
    json.member("uptime_seconds", wall - view.process.startedAt)
    json.member("workers", view.process.metrics.count)
    json.object("totals") { json in
      json.member("requests", total[.requests])
      json.member("connections", total[.downstreamConnectionsActive])
      json.member("exchanges", total[.exchangesActive])
      json.member("waiting", total[.exchangesWaiting])
      json.member("retries", total[.retries])
      json.member("ejections", total[.ejections])
      json.member("received_bytes", total[.downstreamBytesReceived])
      json.member("sent_bytes", total[.downstreamBytesSent])
      json.member(
        "refused_connections", Metric.refusals.reduce(UInt64(0)) { $0 + total[$1] })
      json.member("dropped_log_lines", total[.accessLogLinesDropped])
      json.object("responses") { json in
        json.member("1xx", total[.responses1xx])
        json.member("2xx", total[.responses2xx])
        json.member("3xx", total[.responses3xx])
        json.member("4xx", total[.responses4xx])
        json.member("5xx", total[.responses5xx])
      }
      json.object("handshakes") { json in
        json.member("full", total[.handshakesFull])
        json.member("resumed", total[.handshakesResumed])
        json.member("failed", total[.handshakesFailed])
      }
    }
    json.object("rates") { json in
      write(history.rate(of: \.requests), "requests", to: &json)
      write(history.rate(of: \.errors), "errors", to: &json)
      write(history.rate(of: \.sentBytes), "sent_bytes", to: &json)
      write(history.rate(of: \.tcpConnections), "tcp_connections", to: &json)
      write(history.rate(of: \.tcpFailures), "tcp_failures", to: &json)
    }
    writeReload(to: &json)
    json.object("log") { writeLogLevel(to: &$0) }
    json.array("listeners") { json in
      for listener in view.configuration.listeners { write(listener, to: &json) }
    }
    json.array("pools") { json in
      for (index, settings) in view.snapshot.pools.enumerated() {
        write(settings, view.configuration.pools[index], to: &json)
      }
    }
    json.array("certificates") { json in
      for certificate in view.certificates {
        json.object { json in
          json.member("listener", certificate.listener)
          json.member("path", certificate.path)
          json.array("names") { json in
            for name in certificate.names { json.string(name) }
          }
          json.member("not_after", Int(certificate.notAfter))
          json.member("days_left", certificate.daysLeft(at: wall))
        }
      }
    }
  }

  /// Per second.
  private func write(_ rate: History.Rate, _ name: StaticString, to json: inout JSONWriter) {
    json.object(name) { json in
      json.member("last_second", rate.second)
      json.member("last_ten_seconds", rate.tenSeconds)
    }
  }

  private func writeReload(to json: inout JSONWriter) {
    json.object("configuration") { json in
      json.member("in_force_since", view.reload.inForceSince)
      json.member("reloads", view.reload.acceptedCount)
      json.member("refused", view.reload.refusedCount)
      json.array("refusal") { json in
        for line in view.reload.refusal { json.string(line) }
      }
    }
  }

  private func write(_ listener: Configuration.Listener, to json: inout JSONWriter) {
    json.object { json in
      json.member("name", listener.name)
      json.array("addresses") { json in
        for address in view.addresses where address.listener == listener.name {
          json.string(address.address)
        }
      }
      json.member("protocol", listener.protocol.rawValue)
      json.member("tls", listener.tls != nil)
      json.member("proxy_protocol", listener.proxyProtocol != nil)
      writeResponses(view.process.reading(.listener(listener.name)), to: &json)
      json.array("routes") { json in
        for route in view.configuration.routes(on: listener) {
          json.object { json in
            json.member("match", "\(route)")
            json.member("action", route.action.summary)
            let subject = MetricsSubject.route("\(route)", listener: listener.name)
            writeResponses(view.process.reading(subject), to: &json)
          }
        }
      }
      if listener.protocol == .tcp { writeTCP(listener, to: &json) }
      if listener.protocol == .udp { writeUDP(listener, to: &json) }
    }
  }

  private func writeUDP(_ listener: Configuration.Listener, to json: inout JSONWriter) {
    let reading = view.process.reading(.listener(listener.name))
    let rules = view.snapshot.listeners.first { $0.name == Array(listener.name.utf8) }?.udp
    json.object("udp") { json in
      json.member("active", rules?.admission.count ?? 0)
      json.member("ok", reading[.udpCompleted])
      json.member("failed", reading[.udpFailed])
      json.member("received", reading[.receivedBytes])
      json.member("sent", reading[.sentBytes])
      json.member("received_datagrams", reading[.udpReceived])
      json.member("sent_datagrams", reading[.udpSent])
      json.object("dropped") { json in
        for (counter, name) in TrafficCounter.udpDrops { json.member(name, reading[counter]) }
      }
      json.member("pool", listener.pool)
    }
  }

  private func writeTCP(_ listener: Configuration.Listener, to json: inout JSONWriter) {
    let reading = view.process.reading(.listener(listener.name))
    json.object("tcp") { json in
      json.member("active", reading.connectionCount)
      json.member("ok", reading[.tcpCompleted])
      json.member("failed", reading[.tcpFailed])
      json.member("refused", reading.refusedCount)
      json.member("received", reading[.receivedBytes])
      json.member("sent", reading[.sentBytes])
      json.array("routes") { json in
        for place in view.configuration.places(on: listener) {
          json.object { json in
            json.member("match", "\(place)")
            json.member("pool", place.pool)
          }
        }
      }
      json.member("pool", listener.pool)
    }
  }

  private func writeResponses(_ reading: TrafficReading, to json: inout JSONWriter) {
    json.object("responses") { json in
      for (counter, name) in TrafficCounter.responses { json.member(name, reading[counter]) }
    }
    json.member("aborted", reading[.aborted])
  }

  // MARK: Pools

  private func write(
    _ settings: PoolSettings, _ configured: Configuration.Pool, to json: inout JSONWriter
  ) {
    let pool = settings.pool
    let past = history.pools[pool.name]
    let isFailing =
      past?.backends.values.isFailing(countsResponses: settings.protocol.isHTTP) ?? false
    // One reading, so that a change meanwhile doesn't make them disagree.
    let outage = pool.effectOfOutage
    json.object { json in
      json.member("name", pool.name)
      json.member("strategy", configured.strategy.rawValue)
      json.member("protocol", view.configuration.spoken(by: configured))
      json.member("proxy_protocol", configured.proxyProtocol?.version.rawValue)
      json.member("up", pool.upCount(at: now))
      // Available by health and by drain state. Without any, `when_all_down` says what happens to
      // requests.
      json.member("available", outage == nil)
      json.member("failing", isFailing)
      json.member("when_all_down", configured.whenAllDown.rawValue)
      json.member("carries", settings.protocol.carried)
      json.member("outage", outage)
      json.member("tls", settings.tls.map { $0.isVerified ? "verified" : "unverified" })
      json.member("waiting", pool.record.line.count)
      json.member("retries_charged", pool.record.retryCount)
      pool.writeLevels(at: now, to: &json)
      json.object("latency_ms") { json in
        json.member("p50", past?.quantiles.p50.map { $0 / 1000 })
        json.member("p90", past?.quantiles.p90.map { $0 / 1000 })
        json.member("p99", past?.quantiles.p99.map { $0 / 1000 })
        json.member("p999", past?.quantiles.p999.map { $0 / 1000 })
      }
      writeResponses(TrafficReading(of: settings.traffic), to: &json)
      let unresolved = view.names.unresolved(in: configured)
      let members = shown(pool)
      json.member("backend_count", pool.membership.members.count + unresolved.count)
      json.array("names") { json in
        for name in configured.names.sorted() {
          let known = view.names[name]
          json.object { json in
            json.member("name", name)
            json.array("addresses") { json in
              for address in known.addresses { json.string("\(address)") }
            }
            json.member("failure", known.failure)
          }
        }
      }
      json.array("backends") { json in
        // In trouble, so they come first where not all are shown.
        for backend in unresolved.prefix(backendMax) { write(backend, to: &json) }
        for member in members {
          write(
            member, past?.backends[member.record.identity.address], in: settings, to: &json)
        }
      }
    }
  }

  private func shown(_ pool: Pool) -> [Member] {
    let members = pool.membership.members
    if members.count <= backendMax { return members }
    let troubled = members.filter { BackendCondition($0.record, at: now) != .up }
    let others = members.filter { BackendCondition($0.record, at: now) == .up }
    return Array((troubled + others).prefix(backendMax))
  }

  /// With the same members as any other, so that readers need not tell them apart.
  private func write(_ unresolved: UnresolvedBackend, to json: inout JSONWriter) {
    let backend = unresolved.backend
    json.object { json in
      json.member("address", "\(backend.endpoint)")
      json.member("condition", BackendCondition.unresolved.rawValue)
      json.member("reason", unresolved.reason)
      json.member("protocol", nil as String?)
      json.member("admin", "\(AdminState.enabled)")
      json.member("weight", backend.weight)
      json.member("configured_weight", backend.weight)
      json.member("backup", backend.tierInForce > 0)
      json.member("tier", backend.tierInForce)
      json.member("zone", backend.zone)
      json.member("max_connections", backend.maxConnections)
      json.member("active", 0)
      json.member("connections", 0)
      json.member("changed_at", nil as Double?)
      json.member("ejections", 0)
      json.member("attempts", 0)
      writeResponses(TrafficReading(of: []), to: &json)
      json.object("failures") { _ in }
      json.member("last_check", nil as String?)
      json.array("health") { _ in }
    }
  }

  /// The last health check: when it ended, its result, and the reason as a text.
  private func write(_ result: CheckResult, of check: ActiveCheck, to json: inout JSONWriter) {
    json.object("last_check") { json in
      json.member("at", unixSeconds(result.at))
      json.member("passed", result.failure == nil)
      json.member("result", "\(result.failure?.name ?? "ok")")
      json.member(
        "reason", result.failure.map { check.reason($0, isTLSAlert: result.isTLSAlert) })
      json.member("ms", Double(result.duration.microseconds) / 1000)
    }
  }

  private func write(
    _ member: Member, _ past: BackendHistory?, in settings: PoolSettings,
    to json: inout JSONWriter
  ) {
    let (pool, checks, record) = (settings.pool, settings.check, member.record)
    let reading = view.process.reading(record.identity)
    json.object { json in
      json.member("address", record.identity.address)
      json.member("condition", BackendCondition(record, at: now).rawValue)
      json.member("protocol", record.spoken.map { "\($0.name)" })
      json.member("admin", "\(record.adminState)")
      json.member("weight", record.weightOverride ?? member.weight)
      json.member("configured_weight", member.weight)
      json.member("backup", member.isBackup)
      json.member("tier", member.tier)
      json.member("zone", member.zone.isEmpty ? nil : member.zone)
      if pool.strategy.isSticky { json.member("affinity_id", member.affinityID) }
      if let time = record.latency(at: now) {
        json.member("estimated_ms", Double(time.microseconds) / 1000)
      }
      json.member("max_connections", member.maxConnections)
      json.member("active", record.activeCount)
      json.member("connections", Int(clamping: reading.connectionCount))
      json.member("last_available", pool.isLastAvailable(record))
      // Changed by health or by an operator.
      let changedAt = max(record.changedAt, record.adminChangedAt)
      json.member("changed_at", changedAt == .origin ? nil : unixSeconds(changedAt))
      json.member("ejections", record.ejectionCount)
      json.member("attempts", reading[.attempts])
      writeResponses(reading, to: &json)
      if settings.protocol == .tcp {
        json.object("tcp") { json in
          json.member("ok", reading[.tcpCompleted])
          json.member("failed", reading[.tcpFailed])
          json.member("received", reading[.receivedBytes])
          json.member("sent", reading[.sentBytes])
        }
      }
      if settings.protocol == .udp {
        json.object("udp") { json in
          json.member("ok", reading[.udpCompleted])
          json.member("failed", reading[.udpFailed])
          json.member("received", reading[.receivedBytes])
          json.member("sent", reading[.sentBytes])
        }
      }
      json.object("failures") { json in
        for word in CounterWord.ofAttempts where reading.failureCount(word) > 0 {
          json.member(word.name, reading.failureCount(word))
        }
      }
      if let failure = reading.lastFailure, let cause = FailureWord(rawValue: failure.place) {
        json.object("last_failure") { json in
          json.member("cause", "\(cause.name)")
          json.member("at", unixSeconds(failure.at))
        }
      }
      if let checks, let result = record.checks.last {
        write(result, of: checks, to: &json)
      } else {
        json.member("last_check", nil as String?)
      }
      json.array("health") { json in
        for run in past?.runs ?? [] {
          json.object { json in
            json.member("condition", run.condition.rawValue)
            json.member("seconds", run.seconds)
          }
        }
      }
      if let past { write(past, to: &json) }
    }
  }

  /// The recent traffic of the backend: per second, and the duration of its responses.
  private func write(_ past: BackendHistory, to json: inout JSONWriter) {
    guard let second = past.lastSecond, let (recent, seconds) = past.recent else { return }
    func rate(_ count: UInt64) -> Double { Double(count) / Double(seconds) }
    json.object("rates") { json in
      json.object("attempts") { json in
        json.member("last_second", Double(second.attempts))
        json.member("last_ten_seconds", rate(recent.attempts))
      }
      json.member("failures", rate(recent.failures))
      let names: [StaticString] = ["1xx", "2xx", "3xx", "4xx", "5xx"]
      for (name, count) in zip(names, recent.responses) { json.member(name, rate(count)) }
    }
    json.object("latency_ms") { json in
      json.member("p50", recent.quantile(0.5).map { $0 / 1000 })
      json.member("p99", recent.quantile(0.99).map { $0 / 1000 })
    }
  }
}

extension Pool {
  func upCount(at now: Instant) -> Int {
    membership.members.count { BackendCondition($0.record, at: now) == .up }
  }
}

extension CertificateFacts {
  func daysLeft(at wall: Double) -> Double { (Double(notAfter) - wall) / 86_400 }
}

extension Configuration.Action {
  /// In a few words.
  var summary: String {
    switch self {
    case .forward(let pool): "forward to \(pool)"
    case .redirect(let redirect): "redirect (\(redirect.status))"
    case .respond(let response): "respond (\(response.status))"
    }
  }
}
