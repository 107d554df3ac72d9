// What Prometheus scrapes: the workers' counters, traffic by listener, route, pool and backend, and
// the process itself. Written on the admin thread; a worker notices nothing of a scrape.

import Balancing
import Configuration
import Metrics
import Primitives
import Proxy
import Reactor

struct MetricsReport {
  let view: AdminView
  let now: Instant

  typealias Subjects = [(labels: [(String, String)], reading: TrafficReading)]

  /// In pools with more members than this no backend has a histogram: 20 series for each of ten
  /// thousand would be more than a scrape can carry.
  private static let histogramMax = 100

  func write(_ format: ExpositionFormat) -> [UInt8] {
    var output = FamilyWriter(format)
    let total = MetricsSnapshot(of: view.process.metrics)
    output.append(total)
    for metric in SplitMetric.allCases { output.append(metric, of: total, by: metric.words) }
    writeListeners(to: &output)
    writeRoutes(to: &output)
    writePools(to: &output)
    writeBackends(to: &output)
    output.append(view.process.traffic.calls, naming: GRPCStatus.names)
    writeCertificates(to: &output)
    writeProcess(to: &output)
    return output.finish()
  }

  private func writeListeners(to output: inout FamilyWriter) {
    let listeners: Subjects = view.configuration.listeners.map {
      ([("listener", $0.name)], view.process.reading(.listener($0.name)))
    }
    output.counters(
      "martlet_listener_responses_total", "Responses by listener and status class.", by: "class",
      TrafficCounter.responses, of: listeners)
    output.counter(
      "martlet_listener_aborted_total",
      "Exchanges whose client disconnected early, by listener.", .aborted, of: listeners)
    output.counters(
      "martlet_listener_tcp_connections_total",
      "Connections of TCP listeners that have ended, by listener and result.", by: "result",
      TrafficCounter.tcp, of: listeners)
    output.counters(
      "martlet_listener_udp_sessions_total",
      "Sessions of UDP listeners that have ended, by listener and result.", by: "result",
      TrafficCounter.udp, of: listeners)
    output.counter(
      "martlet_listener_udp_datagrams_received_total", "Datagrams from clients, by listener.",
      .udpReceived, of: listeners)
    output.counter(
      "martlet_listener_udp_datagrams_sent_total", "Datagrams to clients, by listener.", .udpSent,
      of: listeners)
    output.counters(
      "martlet_listener_udp_datagrams_dropped_total",
      "Datagrams that were dropped, by listener and cause.", by: "cause", TrafficCounter.udpDrops,
      of: listeners)
    output.counter(
      "martlet_listener_received_bytes_total",
      "Bytes of request bodies, and of TCP connections and datagrams from clients, by listener.",
      .receivedBytes, of: listeners)
    output.counter(
      "martlet_listener_sent_bytes_total",
      "Bytes of response bodies, and of TCP connections and datagrams to clients, by listener.",
      .sentBytes,
      of: listeners)
    output.counter(
      "martlet_listener_connections_accepted_total", "Client connections, by listener.",
      .connectionsOpened, of: listeners)
    output.connections("martlet_listener_connections_active", "Client connections", of: listeners)
    output.counters(
      "martlet_listener_connections_refused_total",
      "Client connections closed at once because a limit was reached, by listener and limit.",
      by: "limit", TrafficCounter.refusals, of: listeners)
  }

  private func writeRoutes(to output: inout FamilyWriter) {
    let routes: Subjects = view.configuration.listeners.flatMap { listener in
      names(ofRoutesOn: listener).map { route in
        (
          [("listener", listener.name), ("route", route)],
          view.process.reading(.route(route, listener: listener.name))
        )
      }
    }
    output.counters(
      "martlet_route_responses_total", "Responses by route and status class.", by: "class",
      TrafficCounter.responses, of: routes)
    output.counter(
      "martlet_route_aborted_total", "Exchanges whose client disconnected early, by route.",
      .aborted, of: routes)
    output.statuses(
      "martlet_route_requests_total", "Requests by route, method and exact status code.",
      of: routes.map { ($0.labels, $0.reading.statuses) })
    output.durations(
      "martlet_route_duration_seconds",
      "From the head of the request to the end of the response, by route.", of: routes)
    output.counter(
      "martlet_route_received_bytes_total", "Bytes of request bodies, by route.", .receivedBytes,
      of: routes)
    output.counter(
      "martlet_route_sent_bytes_total", "Bytes of response bodies, by route.", .sentBytes,
      of: routes)
  }

  /// Each once, though a listener may have one list of routes more for clients who come by TLS.
  private func names(ofRoutesOn listener: Configuration.Listener) -> [String] {
    let configuration = view.configuration
    var names = configuration.routes(on: listener).map { "\($0)" }
    guard configuration.distinguishesTLS(on: listener) else { return names }
    for route in configuration.routes(on: listener, byTLS: true) where !names.contains("\(route)") {
      names.append("\(route)")
    }
    return names
  }

  private func writePools(to output: inout FamilyWriter) {
    let pools = view.snapshot.pools.map(\.pool)
    let readings: Subjects = view.snapshot.pools.map {
      ([("pool", $0.pool.name)], TrafficReading(of: $0.traffic))
    }
    output.family(
      "martlet_pool_waiting", .gauge, "Exchanges that wait for a place in the pool now.")
    for pool in pools {
      output.series("martlet_pool_waiting", [("pool", pool.name)], "\(pool.record.line.count)")
    }
    output.family(
      "martlet_pool_queue_max", .gauge, "Exchanges that may wait in the pool; 0 without a queue.")
    for configured in view.configuration.pools {
      output.series(
        "martlet_pool_queue_max", [("pool", configured.name)], "\(configured.queue?.size ?? 0)")
    }
    output.durations(
      "martlet_pool_queue_seconds", "Time that exchanges waited in the queue of the pool.",
      of: readings, \.queue)
    output.family(
      "martlet_pool_retries_charged", .gauge, "Retries under way that count against the budget.")
    for pool in pools {
      output.series(
        "martlet_pool_retries_charged", [("pool", pool.name)], "\(pool.record.retryCount)")
    }
    output.family(
      "martlet_pool_backends", .gauge, "Backends of the pool, by what condition they are in.")
    for (pool, configured) in zip(pools, view.configuration.pools) {
      var counts: [BackendCondition: Int] = [:]
      counts[.unresolved] = view.names.unresolved(in: configured).count
      for member in pool.membership.members {
        counts[BackendCondition(member.record, at: now), default: 0] += 1
      }
      for condition in BackendCondition.allCases {
        output.series(
          "martlet_pool_backends", [("pool", pool.name), ("condition", condition.rawValue)],
          "\(counts[condition] ?? 0)")
      }
    }
    output.counters(
      "martlet_pool_udp_datagrams_dropped_total",
      "Datagrams that were dropped on their way to a backend, by pool and cause.", by: "cause",
      TrafficCounter.udpDrops, of: readings)
    writeLevels(pools, to: &output)
    writeNames(to: &output)
  }

  /// By tier with the zones of a tier together, and by zone where a pool prefers one.
  private func writeLevels(_ pools: [Pool], to output: inout FamilyWriter) {
    let levels = pools.map { ($0.name, $0.levels(at: now)) }
    output.family(
      "martlet_pool_tier_share", .gauge, "Share of the requests that begin at the tier, 0 to 1.")
    for (name, levels) in levels {
      for tier in Set(levels.states.map(\.tier)).sorted() {
        let share = levels.states.filter { $0.tier == tier }.reduce(0) { $0 + $1.share }
        output.series(
          "martlet_pool_tier_share", [("pool", name), ("tier", "\(tier)")], "\(share)")
      }
    }
    output.family(
      "martlet_pool_zone_share", .gauge,
      "Share of the requests that begins in the own zone, or in others, of a tier, 0 to 1.")
    for (name, levels) in levels {
      for state in levels.states {
        guard let isNear = state.isNear else { continue }
        output.series(
          "martlet_pool_zone_share",
          [("pool", name), ("tier", "\(state.tier)"), ("zone", isNear ? "own" : "other")],
          "\(state.share)")
      }
    }
    output.family(
      "martlet_pool_panicking", .gauge,
      "1 while so few backends are healthy that health is ignored (panic-percent).")
    for (name, levels) in levels {
      output.series(
        "martlet_pool_panicking", [("pool", name)], levels.isPanicking ? "1" : "0")
    }
  }

  private func writeNames(to output: inout FamilyWriter) {
    let names = view.configuration.pools.flatMap { pool in
      pool.names.sorted().map { (labels: [("pool", pool.name), ("name", $0)], view.names[$0]) }
    }
    output.family(
      "martlet_name_addresses", .gauge, "Addresses of a name among the backends of the pool.")
    for (labels, known) in names {
      output.series("martlet_name_addresses", labels, "\(known.addresses.count)")
    }
    output.family(
      "martlet_name_lookup_failing", .gauge,
      "1 while the last lookup of the name failed; the last addresses are kept.")
    for (labels, known) in names {
      output.series("martlet_name_lookup_failing", labels, known.failure == nil ? "0" : "1")
    }
    output.family("martlet_name_lookups_total", .counter, "Lookups of the name.")
    for (labels, known) in names {
      output.series("martlet_name_lookups_total", labels, "\(known.lookupCount)")
    }
    output.family("martlet_name_lookup_failures_total", .counter, "Lookups that failed.")
    for (labels, known) in names {
      output.series("martlet_name_lookup_failures_total", labels, "\(known.failureCount)")
    }
  }

  private func writeBackends(to output: inout FamilyWriter) {
    let pools = view.snapshot.pools.map(\.pool)
    let members = pools.flatMap { $0.membership.members }
    let backends: Subjects = members.map { member in
      (labels(member.record.identity), view.process.reading(member.record.identity))
    }
    func gauge(_ name: String, _ help: String, _ value: (Member) -> String) {
      output.family(name, .gauge, help)
      for member in members { output.series(name, labels(member.record.identity), value(member)) }
    }
    gauge("martlet_backend_up", "1 while the backend is healthy, and not drained or disabled.") {
      BackendCondition($0.record, at: now) == .up ? "1" : "0"
    }
    gauge("martlet_backend_draining", "1 while an operator has drained or disabled the backend.") {
      $0.record.adminState == .enabled ? "0" : "1"
    }
    gauge("martlet_backend_weight", "The weight in force.") {
      "\($0.record.weightOverride ?? $0.weight)"
    }
    gauge("martlet_backend_tier", "The tier of the backend; 0 is used first.") { "\($0.tier)" }
    gauge("martlet_backend_exchanges_active", "Exchanges on the backend now.") {
      "\($0.record.activeCount)"
    }
    output.family("martlet_backend_ejections_total", .counter, "Times the backend was ejected.")
    for member in members {
      output.series(
        "martlet_backend_ejections_total", labels(member.record.identity),
        "\(member.record.ejectionCount)")
    }
    output.counter(
      "martlet_backend_attempts_total", "Tries at the backend.", .attempts, of: backends)
    output.counters(
      "martlet_backend_responses_total", "Answers of the backend, by status class.", by: "class",
      TrafficCounter.responses, of: backends)
    output.counters(
      "martlet_backend_tcp_connections_total",
      "Connections of TCP listeners that were forwarded to the backend and have ended, by result.",
      by: "result", TrafficCounter.tcp, of: backends)
    output.counters(
      "martlet_backend_udp_sessions_total",
      "Sessions of UDP listeners whose last backend this was and that have ended, by result.",
      by: "result", TrafficCounter.udp, of: backends)
    output.counter(
      "martlet_backend_udp_datagrams_sent_total", "Datagrams to the backend.", .udpSent,
      of: backends)
    output.counter(
      "martlet_backend_udp_datagrams_received_total", "Datagrams from the backend.", .udpReceived,
      of: backends)
    output.failures(
      "martlet_backend_failures_total", "Failed attempts on the backend, by cause.",
      by: CounterWord.ofAttempts, of: backends)
    let small = Set(
      pools.filter { $0.membership.members.count <= Self.histogramMax }.map(\.name))
    output.durations(
      "martlet_backend_duration_seconds",
      "From choosing the backend to the end of its response. Not in pools of more than 100.",
      of: backends.filter { small.contains($0.labels[0].1) })
    output.durations(
      "martlet_backend_connect_seconds",
      "Time to connect to the backend. Not in pools of more than 100.",
      of: backends.filter { small.contains($0.labels[0].1) }, \.connect)
    output.durations(
      "martlet_backend_first_byte_seconds",
      "From selecting the backend to the response head. Not in pools of more than 100.",
      of: backends.filter { small.contains($0.labels[0].1) }, \.firstByte)
    output.counter(
      "martlet_backend_received_bytes_total", "Bytes of response bodies from the backend.",
      .receivedBytes, of: backends)
    output.counter(
      "martlet_backend_sent_bytes_total", "Bytes of request bodies to the backend.", .sentBytes,
      of: backends)
    output.counter(
      "martlet_backend_connections_opened_total", "Connections opened to the backend.",
      .connectionsOpened, of: backends)
    output.connections(
      "martlet_backend_connections_active", "Connections to the backend", of: backends)
    output.family(
      "martlet_backend_exchanges_max", .gauge,
      "The backend's max-connections; no series without one.")
    for member in members {
      guard let limit = member.maxConnections else { continue }
      output.series("martlet_backend_exchanges_max", labels(member.record.identity), "\(limit)")
    }
    writeChecks(to: &output)
  }

  func labels(_ identity: BackendIdentity) -> [(String, String)] {
    [("pool", identity.pool), ("backend", identity.address)]
  }
}
