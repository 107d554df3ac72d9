// Metrics of the health checks of each backend: count, results, duration, the time of the last one,
// and when the backend last changed.

import Balancing
import HTTP
import Metrics
import Primitives
import Reactor

extension MetricsReport {
  func writeChecks(to output: inout FamilyWriter) {
    let checked = view.snapshot.pools.filter { $0.check != nil }
      .flatMap { $0.pool.membership.members }.map(\.record)
    output.family(
      "martlet_backend_health_checks_total", .counter,
      "Health checks of the backend by result: ok, or why it failed.")
    for record in checked {
      let labels = labels(record.identity)
      output.series(
        "martlet_backend_health_checks_total", labels + [("result", "ok")],
        "\(record.checks.passedCount)")
      // A result that never occurred has no series: there are ten causes for each of many backends.
      for word in FailureWord.ofAttempts where record.checks.failedCount(word) > 0 {
        output.series(
          "martlet_backend_health_checks_total", labels + [("result", "\(word.name)")],
          "\(record.checks.failedCount(word))")
      }
    }
    output.family(
      "martlet_backend_health_check_seconds_total", .counter,
      "Total duration of the health checks of the backend.")
    for record in checked {
      output.series(
        "martlet_backend_health_check_seconds_total", labels(record.identity),
        "\(Double(record.checks.duration.microseconds) / 1e6)")
    }
    output.family(
      "martlet_backend_last_check_success", .gauge, "1 if the last health check passed.")
    for record in checked {
      guard let last = record.checks.last else { continue }
      output.series(
        "martlet_backend_last_check_success", labels(record.identity),
        last.failure == nil ? "1" : "0")
    }
    output.family(
      "martlet_backend_last_change_timestamp_seconds", .gauge,
      "When the health of the backend last changed; no series before the first change.")
    let wall = Double(SystemClock.wall()) / 1e9
    for record in view.snapshot.pools.flatMap({ $0.pool.membership.members }).map(\.record)
    where record.changedAt != .origin {
      let at = wall - Double((now - record.changedAt).microseconds) / 1e6
      output.series(
        "martlet_backend_last_change_timestamp_seconds", labels(record.identity), "\(at)")
    }
  }
}

extension FamilyWriter {
  /// A gauge of open connections.
  mutating func connections(_ name: String, _ what: String, of subjects: MetricsReport.Subjects) {
    family(name, .gauge, "\(what) open now.")
    for subject in subjects { series(name, subject.labels, "\(subject.reading.connectionCount)") }
  }

  /// Requests by method and status.
  mutating func statuses(
    _ name: String, _ help: String,
    of subjects: [(labels: [(String, String)], reading: StatusTable.Reading)]
  ) {
    family(name, .counter, help)
    for (labels, reading) in subjects {
      for (method, status, count) in reading.counts {
        let method = Method(rawValue: method).map { $0 == .other ? "other" : "\($0.name)" }
        series(
          name, labels + [("method", method ?? "other"), ("code", "\(status)")], "\(count)")
      }
      if reading.others > 0 {
        series(name, labels + [("method", "other"), ("code", "other")], "\(reading.others)")
      }
    }
  }
}
