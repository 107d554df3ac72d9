// The real worker on the simulated network: the very code that serves, with one listener, one pool
// and plain HTTP, since OpenSSL has a clock and randomness of its own.

import Balancing
import HTTP1
import Logging
import Metrics
import Primitives
import Proxy
import Reactor
import TLS

@testable import Server

struct SimulatedWorker: ~Copyable, SimulatedServer {
  private var worker: Worker<SimulatedNetwork>
  private let pool: Pool
  private let metrics: WorkerMetrics

  init(io: SimulatedNetwork, listener: Socket, backends: [SocketAddress], seed: UInt64) throws {
    var random = RandomGenerator(seed: mix(seed ^ 0x706F_6C69_6379))
    let registry = BackendRegistry()
    var health = HealthPolicy()
    health.failures = random.chance(1, in: 2) ? 3 : nil
    if health.failures == nil { health.failurePercent = nil }
    health.ejectionBase = .seconds(1)
    // By numbers of their own, so that the rest of a seed's world stays what it was.
    var scarcity = RandomGenerator(seed: mix(seed ^ 0x6C69_6E65))
    let isScarce = scarcity.chance(1, in: 3)
    let placeCount = isScarce ? 1 + scarcity.next(below: 2) : nil
    let slowStart: TimeSpan? = scarcity.chance(1, in: 4) ? .seconds(5) : nil
    let strategies = Strategy.allCases
    pool = Pool(
      registry.pool("pool"), strategy: strategies[random.next(below: strategies.count)],
      members: backends.map { address in
        let record = registry.backend(pool: "pool", address: "\(address)", health: health)
        return Member(record: record, address: address, maxConnections: placeCount)
      }, health: health, queueMax: isScarce ? 64 : 0, slowStart: slowStart)
    var settings = PoolSettings(
      pool: pool, retry: RetryPolicy(),
      limits: ExchangeLimits(
        // Where all behave, whoever waits is served in the end, however slow the others are.
        queue: .seconds(7200), connect: .seconds(3), response: .seconds(30),
        total: isScarce ? .seconds(7200) : .seconds(60),
        clientIdle: .seconds(30), idle: .seconds(60), relayIdle: .seconds(600)),
      check: nil)
    if random.chance(1, in: 2) {
      settings.check = ActiveCheck(
        kind: .tcp, interval: .seconds(2), fastInterval: .milliseconds(500), timeout: .seconds(1))
    }
    settings.replayByteCount = random.chance(1, in: 3) ? 4 * 1024 : 64 * 1024
    let route = RouteSettings(.forward(pool: 0))
    let snapshot = Snapshot(
      settings: Settings(),
      listeners: [
        ListenerSettings(
          name: Array("simulated".utf8), table: RouteTable([RouteMatch()]), routes: [route])
      ],
      pools: [settings])
    metrics = WorkerMetrics()
    worker = Worker(
      index: 0, io: io, seed: random.next(), snapshot: snapshot, inbox: try Inbox(), peers: [],
      metrics: metrics,
      events: EventLog(logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }),
      log: AccessLog(format: .off, producer: nil))
    worker.handle(
      .install(snapshot, listeners: [ListenerAssignment(socket: listener, listener: 0)]))
  }

  mutating func turn() {
    if !worker.isFinished { worker.turn() }
  }

  mutating func drain() { worker.handle(.drain(limit: .seconds(30))) }

  var gauges: [(name: String, value: Int)] {
    [
      ("exchanges", worker.exchanges.count),
      ("client connections", worker.downstreams.count),
      ("upstream connections", worker.upstreams.count),
      ("health probes", worker.checker.probes.count),
      ("timers", worker.timers.count),
      ("exchanges by the metrics", Int(metrics.value(.exchangesActive))),
      ("client connections by the metrics", Int(metrics.value(.downstreamConnectionsActive))),
      ("places at backends", pool.membership.members.reduce(0) { $0 + $1.record.activeCount }),
      ("retries charged to the budget", pool.record.retryCount),
      ("retries charged by the metrics", Int(metrics.value(.retriesCharged))),
      ("exchanges in line", pool.record.line.count),
      ("exchanges in line by the metrics", Int(metrics.value(.exchangesWaiting))),
    ]
  }
}
