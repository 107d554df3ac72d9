// The last two minutes, second by second, for the page that draws them.
//
// The admin thread looks at the counters once a second and keeps the differences; workers know
// nothing of it.

import Balancing
import Configuration
import Metrics
import Primitives

/// What happened in one second.
struct Moment {
  var requests: UInt64 = 0
  var errors: UInt64 = 0
  var receivedBytes: UInt64 = 0
  var sentBytes: UInt64 = 0
  var connections: UInt64 = 0
  /// Connections of TCP listeners that began, and those that failed.
  var tcpConnections: UInt64 = 0
  var tcpFailures: UInt64 = 0
  /// Dropped lines of the access log.
  var droppedLines: UInt64 = 0
}

struct History {
  static let secondCount = 120
  /// Quantiles are taken over so many seconds, so that they mean something at a few requests each.
  private static let quantileSeconds = 10
  /// Pools beyond these have no quantiles, which cost memory.
  private static let finePoolMax = 64
  /// The maximum number of backends with rates, which need about 5 KiB each.
  private static let backendMax = 2000

  private(set) var moments: [Moment] = []
  private(set) var pools: [String: PoolHistory] = [:]
  private var last: Moment?

  struct PoolHistory {
    struct Quantiles {
      var p50: Double?
      var p90: Double?
      var p99: Double?
      var p999: Double?
    }

    /// Of the last seconds, in microseconds.
    var quantiles = Quantiles()
    var quantilesBySecond: [Quantiles] = []
    fileprivate var readings: [FineHistogram.Reading] = []
    /// By address.
    var backends: [String: BackendHistory] = [:]
  }

  mutating func sample(_ view: AdminView, at now: Instant) {
    let total = MetricsSnapshot(of: view.process.metrics)
    var sums = Moment()
    sums.requests = total[.requests]
    sums.errors = total[.responses5xx]
    sums.receivedBytes = total[.downstreamBytesReceived]
    sums.sentBytes = total[.downstreamBytesSent]
    sums.droppedLines = total[.accessLogLinesDropped]
    sums.tcpFailures = total[.tcpFailed]
    for listener in view.configuration.listeners where listener.protocol == .tcp {
      sums.tcpConnections &+= view.process.reading(.listener(listener.name))[.connectionsOpened]
    }
    if let last {
      var moment = Moment()
      moment.requests = sums.requests &- last.requests
      moment.errors = sums.errors &- last.errors
      moment.receivedBytes = sums.receivedBytes &- last.receivedBytes
      moment.sentBytes = sums.sentBytes &- last.sentBytes
      moment.connections = total[.downstreamConnectionsActive]
      moment.droppedLines = sums.droppedLines &- last.droppedLines
      moment.tcpFailures = sums.tcpFailures &- last.tcpFailures
      // A reload may have removed a listener.
      moment.tcpConnections =
        sums.tcpConnections >= last.tcpConnections ? sums.tcpConnections - last.tcpConnections : 0
      moments.append(moment)
      if moments.count > Self.secondCount { moments.removeFirst() }
    }
    last = sums
    var fresh: [String: PoolHistory] = [:]
    var places = Self.backendMax
    for (index, settings) in view.snapshot.pools.enumerated() {
      let pool = settings.pool
      var history = pools[pool.name] ?? PoolHistory()
      if index < Self.finePoolMax { history.sampleQuantiles(settings.traffic) }
      history.sampleBackends(pool, view.process, at: now, places: &places)
      fresh[pool.name] = history
    }
    pools = fresh
  }
}

extension History.PoolHistory {
  fileprivate mutating func sampleQuantiles(_ traffic: [TrafficMetrics]) {
    let reading = FineHistogram.Reading(of: traffic.compactMap(\.fine))
    if let before = readings.last {
      quantilesBySecond.append(Quantiles(of: reading.since(before)))
      if quantilesBySecond.count > History.secondCount { quantilesBySecond.removeFirst() }
    }
    if let first = readings.first { quantiles = Quantiles(of: reading.since(first)) }
    readings.append(reading)
    if readings.count > History.quantileSeconds { readings.removeFirst() }
  }

  fileprivate mutating func sampleBackends(
    _ pool: Pool, _ process: ProcessFacts, at now: Instant, places: inout Int
  ) {
    var fresh: [String: BackendHistory] = [:]
    for member in pool.membership.members {
      let identity = member.record.identity
      var history = backends[identity.address] ?? BackendHistory()
      history.sample(BackendCondition(member.record, at: now))
      if places > 0 {
        places -= 1
        history.sample(process.reading(identity))
      }
      fresh[identity.address] = history
    }
    backends = fresh
  }
}

extension History.PoolHistory.Quantiles {
  fileprivate init(of reading: FineHistogram.Reading) {
    p50 = reading.quantile(0.5)
    p90 = reading.quantile(0.9)
    p99 = reading.quantile(0.99)
    p999 = reading.quantile(0.999)
  }
}

/// What people want to know of a backend in one word.
enum BackendCondition: String, CaseIterable {
  case up, down, ejected, trial, draining, disabled
  /// Its name has no address, so that it is no member of its pool.
  case unresolved

  init(_ record: BackendRecord, at now: Instant) {
    switch (record.adminState, record.standing(at: now)) {
    case (.draining, _): self = .draining
    case (.disabled, _): self = .disabled
    case (.enabled, .available): self = .up
    case (.enabled, .down): self = .down
    case (.enabled, .ejected): self = .ejected
    case (.enabled, .onTrial), (.enabled, .beingTried): self = .trial
    }
  }
}

extension History {
  /// Per second, over the last second and over the last ten seconds.
  struct Rate {
    let second: Double
    let tenSeconds: Double
  }

  func rate(of part: KeyPath<Moment, UInt64>) -> Rate {
    let recent = moments.suffix(10)
    let sum = recent.reduce(0) { $0 + $1[keyPath: part] }
    return Rate(
      second: Double(moments.last?[keyPath: part] ?? 0),
      tenSeconds: Double(sum) / Double(max(1, recent.count)))
  }
}
