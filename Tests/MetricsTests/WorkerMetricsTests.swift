// Counters and gauges of one worker, written by one thread and read by others.

import Metrics
import Primitives
import Testing

@Suite struct WorkerMetricsTests {
  @Test func everyMetricHasAPlaceOfItsOwn() {
    let metrics = WorkerMetrics()
    for (index, metric) in Metric.allCases.enumerated() { metrics.add(metric, index + 1) }
    for (index, metric) in Metric.allCases.enumerated() {
      #expect(metrics.value(metric) == UInt64(index + 1))
    }
  }

  @Test func everyWordOfEverySplitHasAPlaceOfItsOwn() {
    let metrics = WorkerMetrics()
    let places = 0..<UInt8(SplitMetric.placeCount)
    for metric in SplitMetric.allCases {
      for place in places {
        for _ in 0...metric.rawValue { metrics.add(metric, at: place) }
      }
    }
    let snapshot = MetricsSnapshot(of: [metrics, metrics])
    for metric in SplitMetric.allCases {
      for place in places {
        #expect(snapshot[metric, at: Int(place)] == UInt64(metric.rawValue + 1) * 2)
      }
    }
  }

  @Test func aGaugeGoesUpAndDown() {
    let metrics = WorkerMetrics()
    metrics.add(.exchangesActive)
    metrics.add(.exchangesActive)
    metrics.subtract(.exchangesActive)
    #expect(metrics.value(.exchangesActive) == 1)
  }

  @Test(arguments: [
    (100, Metric.responses1xx), (200, .responses2xx), (299, .responses2xx), (304, .responses3xx),
    (404, .responses4xx), (599, .responses5xx), (99, nil), (600, nil),
  ])
  func aResponseIsCountedInTheClassOfItsStatus(status: Int, metric: Metric?) {
    #expect(Metric.responses(status: status) == metric)
  }
}

@Suite struct MetricsSnapshotTests {
  @Test func aSnapshotSumsOverAllWorkers() {
    let workers = [WorkerMetrics(), WorkerMetrics(), WorkerMetrics()]
    workers[0].add(.requests, 5)
    workers[2].add(.requests, 7)
    workers[1].add(.retries)
    let snapshot = MetricsSnapshot(of: workers)
    #expect(snapshot[.requests] == 12)
    #expect(snapshot[.retries] == 1)
    #expect(snapshot[.attempts] == 0)
    workers[0].add(.requests)
    #expect(snapshot[.requests] == 12)
  }

  @Test func aGaugeIsNeverShownBelowZero() {
    let worker = WorkerMetrics()
    worker.subtract(.exchangesActive)
    #expect(MetricsSnapshot(of: [worker])[.exchangesActive] == 0)
  }

  @Test func theGaugesAreKnownByTheirNamesEvenBelowZero() {
    let worker = WorkerMetrics()
    worker.add(.requests, 5)
    worker.add(.downstreamConnectionsActive, 2)
    worker.subtract(.exchangesActive)
    let open = MetricsSnapshot(of: [worker]).gauges.filter { $0.value != 0 }
    #expect(open.map(\.name).sorted() == [
      "martlet_downstream_connections_active", "martlet_exchanges_active",
    ])
    #expect(open.map(\.value).sorted() == [-1, 2])
  }

  @Test func aScrapeBesideARunningWorkerSeesCountersThatOnlyGrow() async {
    let worker = WorkerMetrics()
    let writing = Task.detached { for _ in 0..<100_000 { worker.add(.requests) } }
    var last: UInt64 = 0
    for _ in 0..<1000 {
      let value = MetricsSnapshot(of: [worker])[.requests]
      #expect(value >= last)
      last = value
    }
    await writing.value
    #expect(MetricsSnapshot(of: [worker])[.requests] == 100_000)
  }
}
