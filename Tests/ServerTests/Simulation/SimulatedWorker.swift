// The real workers on the simulated network: the production code, with plain HTTP, since OpenSSL
// has its own clock and randomness.
//
// Several workers share the records of Balancing, as threads of one process do. An iteration runs
// without interruption: races between two threads within one are left to the thread sanitizer.

import HTTP2
import Logging
import Metrics
import Primitives
import Reactor

@testable import Server

struct SimulatedWorkers: SimulatedServer {
  private let workers: [SimulatedWorker]
  private let network: SimulatedNetwork
  private let operation: SimulatedOperator
  private var random: RandomGenerator

  init(of run: SimulationRun) throws {
    network = run.network
    random = RandomGenerator(seed: mix(run.plan.seed ^ 0x776F_726B_6572))
    operation = SimulatedOperator(
      plan: run.plan, ledger: run.ledger, addresses: run.addresses, listeners: run.listeners)
    var workers: [SimulatedWorker] = []
    let inboxes = try (0..<run.plan.workerCount).map { _ in try Inbox<WorkerMessage>() }
    let admission = Admission()
    for index in 0..<run.plan.workerCount {
      network.give(turnTo: index)
      let worker = try SimulatedWorker(
        index: index, network: network, operation: operation, seed: random.next(),
        inboxes: inboxes, admission: admission)
      workers.append(worker)
    }
    self.workers = workers
  }

  mutating func turn() {
    let ready = workers.filter { network.isReady(network.lanes[$0.index]) }
    let worker: SimulatedWorker
    if workers.count == 1 || ready.count == 1 {
      worker = ready.first ?? workers[0]
    } else {
      worker = random.pick(ready.isEmpty ? workers : ready)
    }
    network.give(turnTo: worker.index)
    worker.turn(network)
  }

  mutating func drain() { operation.drain() }

  var isFinished: Bool { workers.allSatisfy(\.isFinished) }

  var gauges: [(name: String, value: Int)] {
    operation.gauges + workers.flatMap(\.gauges)
  }
}

/// One worker. A class, since several are stored in one list.
private final class SimulatedWorker {
  let index: Int
  private var worker: Worker<SimulatedNetwork>
  private let metrics = WorkerMetrics()

  init(
    index: Int, network: SimulatedNetwork, operation: SimulatedOperator, seed: UInt64,
    inboxes: [Inbox<WorkerMessage>], admission: Admission
  ) throws {
    self.index = index
    let inbox = inboxes[index]
    worker = Worker(
      index: index, io: network, seed: seed, snapshot: operation.snapshot, inbox: inbox,
      peers: inboxes, metrics: metrics, admission: admission,
      events: EventLog(logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }),
      log: AccessLog(settings: LogSettings(), producer: nil))
    operation.attach(inbox)
    inbox.post(operation.installation(for: index))
    network.lanes[index].wakeUp = inbox.wakeUp
  }

  func turn(_ network: SimulatedNetwork) {
    if worker.isFinished {
      // The other workers and the world continue.
      _ = network.wait(until: nil)
    } else {
      worker.turn()
      network.lanes[index].deadline = worker.isFinished ? nil : worker.waitsUntil
      // A worker that has ended doesn't read its messages.
      if worker.isFinished { network.lanes[index].wakeUp = nil }
    }
  }

  var isFinished: Bool { worker.isFinished }

  var gauges: [(name: String, value: Int)] {
    let all = [
      ("exchanges", worker.exchanges.count),
      ("client connections", worker.clientCount),
      ("upstream connections", worker.connections.count - worker.clientCount),
      (
        "codecs",
        worker.http1Clients.count + worker.http2Sessions.count + worker.http1Backends.count
      ),
      ("bytes of windows", HTTP2Workspace().windowBudget - worker.http2.windowBudget),
      ("logins", worker.logins.count),
      // One head is for the next request.
      ("heads", worker.heads.count - worker.spareHeads.count - 1),
      ("health probes", worker.checker.probes.count),
      ("timers", worker.timers.count),
      ("exchanges by the metrics", Int(metrics.value(.exchangesActive))),
      ("client connections by the metrics", Int(metrics.value(.downstreamConnectionsActive))),
      ("retries charged by the metrics", Int(metrics.value(.retriesCharged))),
      ("exchanges in line by the metrics", Int(metrics.value(.exchangesWaiting))),
      ("exchanges by the generations", worker.generations.reduce(0) { $0 + $1.exchangeCount }),
    ]
    return all.map { ("\($0.0) of worker \(index)", $0.1) }
  }
}
