// One run of the simulated world, from a plan to a verdict.
//
// The run creates the world of the plan, runs the server until every client is done, drains it, and
// checks the result. The server is anything that runs on the network: the workers, or the byte
// relay with which the simulation itself is tested.

import Primitives
import Reactor

/// The server under simulation, as far as a run needs to know it.
protocol SimulatedServer: ~Copyable {
  /// One iteration of the loop: one `wait`, and everything that follows from it.
  mutating func turn()
  /// Stops accepting connections; current exchanges continue, idle connections are closed.
  mutating func drain()
  /// Whether it has nothing left to do after `drain`.
  var isFinished: Bool { get }
  /// Values that must be zero in the end, such as active exchanges, by name.
  var gauges: [(name: String, value: Int)] { get }
}

final class SimulationRun {
  let plan: SimulationPlan
  let network: SimulatedNetwork
  let ledger: Ledger
  /// One for each worker.
  let listeners: [Socket]
  private(set) var clients: [any SimulatedClient] = []
  var waitingFlowCount: Int { tcpClients.count { !$0.isDone } }
  private(set) var backends: [SimulatedBackend] = []
  private var crowds: [SimulatedCrowd] = []
  private var flooders: [SimulatedFlooder] = []
  private var tcpClients: [SimulatedTCPClient] = []
  /// By request.
  var waits: [RequestWait]

  /// More than an exchange may buffer in one direction, and less than the largest bodies. It counts
  /// bytes on the wire, so it isn't checked with tiny chunks, whose framing is 20 bytes each.
  static let heldMax = 256 * 1024
  private static let turnMax = 2_000_000
  private static let timeMax = TimeSpan.seconds(12 * 3600)
  private static let listenAddress = SocketAddress.ip(.loopbackV4, port: 80)

  init(_ plan: SimulationPlan, isLogging: Bool = false) {
    self.plan = plan
    let network = SimulatedNetwork(
      seed: plan.seed, conditions: plan.conditions, isLogging: isLogging)
    self.network = network
    ledger = Ledger(network: network, level: plan.level, role: plan.role)
    ledger.records = plan.requests.map { RequestRecord(plan: $0) }
    ledger.upstreamIdleTime = plan.policy.upstreamIdleTime
    ledger.retryStatuses = Set(plan.configurations.flatMap(\.retryStatuses))
    ledger.history.install(plan.configurations[0], at: .origin)
    network.addLanes(upTo: plan.workerCount)
    listeners = (0..<plan.workerCount).map { network.listen(on: Self.listenAddress, lane: $0) }
    waits = plan.requests.map { _ in RequestWait() }
    let bodyMax = plan.conditions.bodyMax
    for backend in plan.backends {
      backends.append(
        SimulatedBackend(
          index: backend.index, ledger: ledger, seed: backend.seed, sizeMax: bodyMax,
          isSmall: bodyMax < 200_000, isReliable: backend.isReliable))
    }
    let ledger = ledger
    clients = plan.clients.map { $0.wire.client(ledger: ledger, plan: $0) }
    crowds = plan.crowds.map { SimulatedCrowd(network: network, plan: $0) }
    // A server that takes few requests on a connection, or few connections, has its own reasons.
    let isExcused = plan.configurations.contains {
      $0.requestsPerConnection < 10_000 || $0.connectionMax < 10_000
    }
    flooders = plan.floods.map { SimulatedFlooder(ledger: ledger, plan: $0, isExcused: isExcused) }
    for backend in plan.layer4.backends {
      _ = SimulatedTCPBackend(
        ledger: ledger, plan: backend, headers: Set(plan.layer4.pools.compactMap(\.header)),
        isSmall: bodyMax < 200_000)
    }
    tcpClients = plan.flows.map {
      SimulatedTCPClient(
        ledger: ledger, plan: $0, listener: plan.layer4.listeners[$0.listener].address,
        isSmall: bodyMax < 200_000)
    }
    network.note(
      "seed \(plan.seed), \(plan.level): \(clients.count) clients, \(plan.workerCount) workers, "
        + "\(plan.policy), \(plan.conditions)")
  }

  convenience init(
    seed: UInt64, role: SimulatedRole, level: SimulationLevel? = nil, isLogging: Bool = false
  ) {
    self.init(SimulationPlan(seed: seed, role: role, level: level), isLogging: isLogging)
  }

  var listener: Socket { listeners[0] }

  /// By index.
  var addresses: [SocketAddress] {
    backends.sorted { $0.index < $1.index }.map(\.address)
  }

  /// Runs the world and returns the faults.
  func run<Server: SimulatedServer & ~Copyable>(_ server: inout Server) -> [String] {
    let end = network.now + Self.timeMax
    var turns = 0
    var isDraining = false
    while !network.isStuck {
      if clients.allSatisfy(\.isDone) && crowds.allSatisfy(\.isDone)
        && flooders.allSatisfy(\.isDone) && tcpClients.allSatisfy(\.isDone)
      {
        if !isDraining {
          isDraining = true
          network.note("the clients are done")
          server.drain()
        }
        if server.isFinished && network.openSocketCount == 0 { break }
      }
      server.turn()
      turns += 1
      sample()
      if network.now > end {
        network.fault("virtual hours have passed, and it isn't over")
        break
      }
      if turns > Self.turnMax {
        network.fault("more than \(Self.turnMax) turns")
        break
      }
    }
    judge(gauges: server.gauges)
    network.dismiss()
    return network.faults
  }
}
