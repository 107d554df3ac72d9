// A real worker with one listener, one pool and one backend, for the targets that run a whole one.
//
// It serves one client to its end, drains, and requires that nothing is left.

import Balancing
import FuzzSupport
import Logging
import Metrics
import Primitives
import Proxy
import Reactor

@testable import Server

/// The worker with one listener, one pool and one backend.
struct TestStand: ~Copyable {
  private var worker: Worker<ScriptedIO>
  private let io: ScriptedIO
  private let pool: Pool

  init(
    _ io: ScriptedIO, tolerates: Bool = false, clients: ListenerProtocols = ListenerProtocols(),
    backends: BackendProtocol = .http1
  ) {
    let address = SocketAddress.ip(.loopbackV4, port: 1)
    let registry = BackendRegistry()
    var health = HealthPolicy()
    health.failures = nil
    let record = registry.backend(pool: "pool", address: "\(address)", health: health)
    pool = Pool(
      registry.pool("pool"), strategy: .roundRobin,
      members: [Member(record: record, address: address)], health: health)
    let settings = PoolSettings(
      pool: pool, retry: RetryPolicy(),
      limits: ExchangeLimits(
        connect: .seconds(3), response: .seconds(30), total: .seconds(60),
        clientIdle: .seconds(30), idle: .seconds(60), relayIdle: .seconds(600)),
      check: nil, protocol: backends)
    let snapshot = Snapshot(
      settings: Settings(),
      listeners: [
        ListenerSettings(
          name: [],
          rules: RouteRules(
            table: RouteTable([RouteMatch()]), routes: [RouteSettings(.forward(pool: 0))]),
          protocols: clients, desync: tolerates ? .monitor : .strict)
      ],
      pools: [settings])
    guard let inbox = try? Inbox<WorkerMessage>() else { fatalError("no descriptors are left") }
    self.io = io
    worker = Worker(
      index: 0, io: io, seed: 1, snapshot: snapshot, inbox: inbox, peers: [inbox],
      metrics: WorkerMetrics(),
      events: EventLog(logger: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }),
      log: AccessLog(settings: LogSettings(), producer: nil))
    worker.handle(
      .install(snapshot, listeners: [ListenerAssignment(socket: ScriptedIO.listener, listener: 0)]))
  }

  /// Serves the client to its end, drains, and checks for leaks.
  mutating func run() {
    var turnCount = 0
    while !io.client.isClosed {
      turn(&turnCount)
    }
    worker.handle(.drain(limit: .seconds(30)))
    while !worker.isFinished { turn(&turnCount) }
    let left = [
      worker.exchanges.count, worker.clientCount, worker.connections.count - worker.clientCount,
      pool.membership.members.reduce(0) { $0 + $1.record.activeCount }, pool.record.retryCount,
    ]
    require(left.allSatisfy { $0 == 0 }, "exchanges, connections, places, retries left: \(left)")
  }

  private mutating func turn(_ count: inout Int) {
    count += 1
    require(count < 200_000, "the worker turns for ever")
    worker.turn()
  }
}
