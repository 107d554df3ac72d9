// What Prometheus scrapes: the workers' counters, traffic by listener, route, pool and backend, and
// the process itself. Written on the admin thread; a worker notices nothing of a scrape.

import Balancing
import Configuration
import Metrics
import Primitives
import Reactor

struct MetricsReport {
  let view: AdminView
  let now: Instant

  private typealias Subjects = [(labels: [(String, String)], reading: TrafficReading)]

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
      "Exchanges whose client left before an answer, by listener.", .aborted, of: listeners)
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
      "martlet_route_aborted_total", "Exchanges whose client left before an answer, by route.",
      .aborted, of: routes)
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
    output.family(
      "martlet_pool_waiting", .gauge, "Exchanges that wait for a place in the pool now.")
    for pool in pools {
      output.series("martlet_pool_waiting", [("pool", pool.name)], "\(pool.record.line.count)")
    }
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
    writeNames(to: &output)
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
    gauge("martlet_backend_up", "1 while the backend may be used, by its health and by hand.") {
      BackendCondition($0.record, at: now) == .up ? "1" : "0"
    }
    gauge("martlet_backend_draining", "1 while the backend was taken out by hand.") {
      $0.record.adminState == .enabled ? "0" : "1"
    }
    gauge("martlet_backend_weight", "The weight in force.") {
      "\($0.record.weightOverride ?? $0.weight)"
    }
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
    output.failures(
      "martlet_backend_failures_total", "Tries at the backend that failed, by cause.",
      by: CounterWord.ofAttempts, of: backends)
    let small = Set(
      pools.filter { $0.membership.members.count <= Self.histogramMax }.map(\.name))
    output.durations(
      "martlet_backend_duration_seconds",
      "From choosing the backend to the end of its answer. Not in pools of more than 100.",
      of: backends.filter { small.contains($0.labels[0].1) })
  }

  private func labels(_ identity: BackendIdentity) -> [(String, String)] {
    [("pool", identity.pool), ("backend", identity.address)]
  }

  private func writeCertificates(to output: inout FamilyWriter) {
    output.family(
      "martlet_certificate_expiry_timestamp_seconds", .gauge,
      "When the certificate that is served expires.")
    for certificate in view.certificates {
      output.series(
        "martlet_certificate_expiry_timestamp_seconds",
        [("listener", certificate.listener), ("path", certificate.path)],
        "\(certificate.notAfter)")
    }
  }

  private func writeProcess(to output: inout FamilyWriter) {
    func single(_ name: String, _ kind: FamilyKind, _ help: String, _ value: String?) {
      guard let value else { return }
      output.family(name, kind, help)
      output.series(name, [], value)
    }
    let exporter = view.snapshot.settings.tracing?.exporter
    single(
      "martlet_spans_sent_total", .counter, "Spans of traces that the collector took.",
      exporter.map { "\($0.sentCount)" })
    single(
      "martlet_spans_refused_total", .counter, "Spans of traces that the collector refused.",
      exporter.map { "\($0.refusedCount)" })
    output.family("martlet_config_reloads_total", .counter, "Reloads since the start, by result.")
    output.series(
      "martlet_config_reloads_total", [("result", "accepted")], "\(view.reload.acceptedCount)")
    output.series(
      "martlet_config_reloads_total", [("result", "refused")], "\(view.reload.refusedCount)")
    single(
      "martlet_config_last_reload_successful", .gauge,
      "0 when the last reload was refused and an older configuration is in force.",
      view.reload.refusal.isEmpty ? "1" : "0")
    single(
      "martlet_config_in_force_timestamp_seconds", .gauge,
      "When the configuration in force was taken up.", "\(view.reload.inForceSince)")
    single(
      "martlet_overload_stage", .gauge,
      "0 normal, 1 ending connections, 2 shedding requests.", "\(view.overload.rawValue)")
    output.family("martlet_build_info", .info, "The version, with the value 1.")
    output.series("martlet_build_info", [("version", view.process.version)], "1")
    single(
      "process_resident_memory_bytes", .gauge, "Memory in use.",
      Memory.resident.map { "\($0)" })
    single(
      "process_cpu_seconds_total", .counter, "Processor time used.",
      ProcessUsage.cpuSeconds.map { "\($0)" })
    single(
      "process_open_fds", .gauge, "Descriptors open.", ProcessUsage.openDescriptors.map { "\($0)" }
    )
    single("process_max_fds", .gauge, "Descriptors allowed.", "\(view.process.descriptorMax)")
    single(
      "process_start_time_seconds", .gauge, "When the process started.",
      "\(view.process.startedAt)")
  }
}
