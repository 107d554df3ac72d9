// The demo backends of `martlet run --demo`: one more worker with its own metrics, counters and
// snapshot, so that nothing that this Martlet reports includes them.
//
// Their sockets are in the table of listeners, so that reloads and upgrades pass them on.

import Configuration
import Metrics
import Primitives
import Reactor

/// The worker of the demo backends, for the control thread.
struct RunningDemo {
  let inbox: Inbox<WorkerMessage>
  let thread: Thread
  let builder: SnapshotBuilder

  func end() {
    inbox.post(.stop)
    thread.join()
  }
}

extension Server {
  /// Starts the worker. `reloadDemo` makes it listen, after the sockets listen.
  func startDemo() throws(ServerFailure) {
    guard let configuration = configuration.ofDemoBackends else { return }
    let builder = SnapshotBuilder(workerCount: 1, descriptors: self.builder.descriptors)
    let snapshot = try demoSnapshot(configuration, builder)
    do throws(SystemError) {
      let inbox = try Inbox<WorkerMessage>()
      let metrics = WorkerMetrics()
      let start = WorkerStart(
        index: 0, snapshot: Parcel(snapshot), inbox: inbox, peers: [inbox], metrics: metrics,
        traffic: builder.traffic, admission: Admission(), reports: ExchangeReports(),
        events: EventLog(logger: logger), producer: nil, awaitsSessions: false)
      let thread = try Thread(name: "demo") { start.run() }
      demo = RunningDemo(inbox: inbox, thread: thread, builder: builder)
    } catch {
      throw ServerFailure("can't start the demo backends: \(error)")
    }
  }

  /// Makes them listen on the current addresses of the pools' backends, after a start and after a
  /// reload.
  func reloadDemo() {
    guard let demo, let configuration = configuration.ofDemoBackends,
      let snapshot = try? demoSnapshot(configuration, demo.builder)
    else { return }
    demo.inbox.post(
      .install(snapshot, listeners: listening.assignments(of: configuration)))
  }

  private func demoSnapshot(
    _ configuration: Configuration, _ builder: SnapshotBuilder
  ) throws(ServerFailure) -> Snapshot {
    try builder.build(configuration, certificates: [:], names: NameTable())
  }
}
