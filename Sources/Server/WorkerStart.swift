// What a worker's thread begins with, and the one place that names a worker with its I/O.

import Metrics
import Reactor
import TLS

/// What a worker's thread begins with.
struct WorkerStart: Sendable {
  let index: Int
  let snapshot: Parcel<Snapshot>
  let inbox: Inbox<WorkerMessage>
  let peers: [Inbox<WorkerMessage>]
  let metrics: WorkerMetrics
  let traffic: MetricsRegistry
  let admission: Admission
  let reports: ExchangeReports
  let events: EventLog
  let producer: AccessLogWriter.Producer?
  /// Another process has the sessions of UDP listeners at present.
  let awaitsSessions: Bool

  func run() {
    guard var worker = makeWorker() else { return }
    worker.udp.isHeld = awaitsSessions
    while !worker.isFinished { worker.turn() }
  }

  /// The only place that names the worker with its I/O: see Worker.swift. A function of its own, so
  /// that nothing but the worker keeps the first snapshot.
  private func makeWorker() -> Worker<EpollIO>? {
    guard let io = try? EpollIO(wakeUp: inbox.wakeUp), let snapshot = snapshot.take() else {
      return nil
    }
    return Worker<EpollIO>(
      index: index, io: io, seed: randomSeed(), snapshot: snapshot, inbox: inbox, peers: peers,
      metrics: metrics, traffic: traffic, admission: admission, reports: reports, events: events,
      log: AccessLog(settings: snapshot.settings.log, producer: producer, metrics: metrics))
  }
}
