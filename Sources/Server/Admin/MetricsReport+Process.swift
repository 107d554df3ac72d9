// Metrics of the process: certificates, reloads, build, workers, limits.

import Configuration
import Metrics
import Primitives
import Reactor
import TLS

extension MetricsReport {
  func writeCertificates(to output: inout FamilyWriter) {
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

  func writeProcess(to output: inout FamilyWriter) {
    func single(_ name: String, _ kind: FamilyKind, _ help: String, _ value: String?) {
      guard let value else { return }
      output.family(name, kind, help)
      output.series(name, [], value)
    }
    let exporter = view.snapshot.settings.tracing?.exporter
    single(
      "martlet_spans_sent_total", .counter, "Trace spans that the collector accepted.",
      exporter.map { "\($0.sentCount)" })
    single(
      "martlet_spans_refused_total", .counter, "Trace spans that the collector refused.",
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
      "When the current configuration was applied.", "\(view.reload.inForceSince)")
    single(
      "martlet_overload_stage", .gauge,
      "0 normal, 1 ending connections, 2 shedding requests.", "\(view.overload.rawValue)")
    output.family("martlet_build_info", .info, "Version of the binary. The value is 1.")
    output.series(
      "martlet_build_info",
      [
        ("version", view.process.version), ("commit", BuildFacts.commit),
        ("swift", BuildFacts.swift), ("openssl", OpenSSLVersion.linked),
      ], "1")
    output.family(
      "martlet_worker_cpu_seconds_total", .counter,
      "Processor time of a worker. Its rate is the share of time that the worker is busy.")
    for (index, clock) in view.process.clocks.enumerated() {
      guard let seconds = clock.seconds else { continue }
      output.series("martlet_worker_cpu_seconds_total", [("worker", "\(index)")], "\(seconds)")
    }
    var handshakes = DurationCounts.Reading()
    for worker in view.process.metrics { handshakes.add(worker.handshakes) }
    output.histogram(
      "martlet_handshake_duration_seconds",
      "From accepting a connection to the end of its TLS handshake.", of: [([], handshakes)])
    writeLimits(to: &output)
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

  // MARK: Limits

  /// A limit of something with a gauge has the name of this gauge with `_max`. The others, which
  /// limit one request or connection, have the name of their key.
  private func writeLimits(to output: inout FamilyWriter) {
    func single(_ name: String, _ help: String, _ value: Int?) {
      guard let value else { return }
      output.family(name, .gauge, help)
      output.series(name, [], "\(value)")
    }
    single(
      "martlet_downstream_connections_max",
      "Client connections that are accepted: limits.connections, or what the descriptors allow.",
      view.limits.connections)
    single(
      "martlet_handshakes_max", "TLS handshakes that may be in progress.", view.limits.handshakes)
    single(
      "martlet_upstream_connections_idle_max", "Maximum number of idle backend connections.",
      view.limits.idleUpstreams)
    single(
      "martlet_memory_max_bytes", "Memory limit: limits.memory, or the available memory.",
      view.limits.memory)
    let limits = view.configuration.limits
    writeLimits(
      "martlet_limit_bytes", "Limits of one request or response, by key of limits.",
      [
        ("head-size", limits.headSize), ("target-size", limits.targetSize),
        ("body-size", limits.bodySize), ("chunk-extensions", limits.chunkExtensions),
        ("trailer-size", limits.trailerSize), ("response-head-size", limits.responseHeadSize),
        ("collect-size", limits.collectSize),
      ], to: &output)
    writeLimits(
      "martlet_limit_items", "Limits that are counts, by key of limits.",
      [
        ("field-count", limits.fieldCount), ("response-field-count", limits.responseFieldCount),
        ("connections-per-address", limits.connectionsPerAddress),
        ("requests-per-connection", limits.requestsPerConnection),
        ("streams-per-connection", limits.streamsPerConnection),
      ], to: &output)
    output.family("martlet_limit_seconds", .gauge, "Limits of time, by key of limits.")
    for (key, span) in [
      ("handshake", limits.handshake), ("head", limits.head), ("body-idle", limits.bodyIdle),
      ("rate-grace", limits.rateGrace), ("keep-alive", limits.keepAlive),
      ("linger", limits.linger), ("lame-duck", limits.lameDuck), ("drain", limits.drain),
      ("upgrade", limits.upgrade), ("collect-wait", limits.collectWait),
    ] {
      output.series(
        "martlet_limit_seconds", [("limit", key)], "\(Double(span.milliseconds) / 1000)")
    }
  }

  /// A limit that is off has no series.
  private func writeLimits(
    _ name: String, _ help: String, _ limits: [(key: String, value: Int?)],
    to output: inout FamilyWriter
  ) {
    output.family(name, .gauge, help)
    for case (let key, let value?) in limits {
      output.series(name, [("limit", key)], "\(value)")
    }
  }
}
