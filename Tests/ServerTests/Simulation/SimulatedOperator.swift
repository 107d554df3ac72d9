// The operator of the simulated server: reloads, health changes, drains and stops at the times of
// the plan, from outside the workers as the control thread does.
//
// It also moves the clock, and records the history by which requests are judged: the configuration
// in force and the unavailable backends at each time.

import Balancing
import Primitives
import Reactor

@testable import Server

final class SimulatedOperator: SimulatedActor {
  private let plan: SimulationPlan
  private let ledger: Ledger
  private let addresses: [SocketAddress]
  private let registry = BackendRegistry()
  private let listeners: [Socket]
  private let admissions = TCPAdmissions()
  /// By TCP listener and worker; empty while the configuration doesn't have it.
  private var tcpSockets: [[Socket]] = []
  /// The configuration in force.
  private var configuration: ConfigurationPlan
  private let start: Instant
  private var events: ArraySlice<WorldEvent>
  private(set) var snapshot: Snapshot
  private var inboxes: [Inbox<WorkerMessage>] = []

  init(
    plan: SimulationPlan, ledger: Ledger, addresses: [SocketAddress], listeners: [Socket]
  ) {
    self.plan = plan
    self.ledger = ledger
    self.addresses = addresses
    self.listeners = listeners
    start = ledger.network.now
    events = plan.events[...]
    configuration = plan.configurations[0]
    snapshot = configuration.snapshot(
      registry: registry, addresses: addresses, policy: plan.policy, layer4: plan.layer4,
      admissions: admissions)
    tcpSockets = plan.layer4.listeners.map { _ in [] }
    super.init(network: ledger.network)
    listenForTCP()
    wakeForNext()
  }

  /// Adds the inbox of a worker.
  func attach(_ inbox: Inbox<WorkerMessage>) { inboxes.append(inbox) }

  func installation(for worker: Int) -> WorkerMessage {
    var assignments = [ListenerAssignment(socket: listeners[worker], listener: 0)]
    for sockets in tcpSockets where !sockets.isEmpty {
      assignments.append(
        ListenerAssignment(socket: sockets[worker], listener: assignments.count))
    }
    return .install(snapshot, listeners: ledger.history.removedAt == nil ? assignments : [])
  }

  /// Opens and forgets the sockets of TCP listeners as the configuration says. Workers close them.
  private func listenForTCP() {
    for (index, isThere) in configuration.layer4.listeners.enumerated() {
      if !isThere {
        tcpSockets[index] = []
      } else if tcpSockets[index].isEmpty {
        tcpSockets[index] = (0..<plan.workerCount).map {
          network.listen(on: plan.layer4.listeners[index].address, lane: $0)
        }
      }
    }
  }

  /// Reserved slots and counted retries, over all pools that ever existed.
  var gauges: [(name: String, value: Int)] {
    var places = 0
    var retries = 0
    var waiting = 0
    for pool in plan.configurations[0].pools.indices {
      for backend in addresses.indices { places += record(pool, backend).activeCount }
      retries += registry.pool("pool \(pool)").retryCount
      waiting += registry.pool("pool \(pool)").line.count
    }
    for pool in plan.layer4.pools.indices {
      let name = ConfigurationPlan.nameOfTCPPool(pool)
      for backend in plan.layer4.backends.indices { places += tcpRecord(pool, backend).activeCount }
      retries += registry.pool(name).retryCount
      waiting += registry.pool(name).line.count
    }
    let admitted = plan.layer4.listeners.indices.reduce(0) {
      $0 + admissions.admission(of: ConfigurationPlan.nameOfTCPListener($1)).count
    }
    return [
      ("places at backends", places), ("retries charged to the budget", retries),
      ("exchanges in line", waiting), ("connections of TCP listeners", admitted),
    ]
  }

  private func tcpRecord(_ pool: Int, _ backend: Int) -> BackendRecord {
    plan.layer4.record(pool: pool, backend: backend, registry)
  }

  private func record(_ pool: Int, _ backend: Int) -> BackendRecord {
    let address = plan.policy.address(addresses[backend], ofPool: pool)
    return registry.backend(
      pool: "pool \(pool)", address: "\(address)", health: plan.policy.health)
  }

  private func wakeForNext() {
    if let next = events.first { wake(after: max(.zero, start + next.time - network.now)) }
  }

  override func act() {
    while let event = events.first, start + event.time <= network.now {
      events.removeFirst()
      network.note("event: \(event.kind)")
      carryOut(event.kind)
    }
    wakeForNext()
  }

  private func carryOut(_ kind: WorldEvent.Kind) {
    switch kind {
    case .reload(let index):
      configuration = plan.configurations[index]
      snapshot = configuration.snapshot(
        registry: registry, addresses: addresses, policy: plan.policy, layer4: plan.layer4,
        admissions: admissions)
      if ledger.history.removedAt == nil && ledger.history.drainedAt == nil
        && ledger.history.stoppedAt == nil
      {
        listenForTCP()
      }
      ledger.history.install(configuration, at: network.now)
      let gone = registry.settle(on: snapshot.pools.map(\.pool))
      for (worker, inbox) in inboxes.enumerated() {
        inbox.post(installation(for: worker))
        // There are too few backends for any to be forgotten, but workers free what isn't used.
        inbox.post(.forget(gone))
      }
    case .flip(let backend, let isUp) where backend >= WorldEvent.firstTCP:
      flipTCP(backend - WorldEvent.firstTCP, isUp: isUp)
    case .flip(let backend, let isUp):
      // Running checks would soon change it back.
      if plan.policy.checks == .none { flip(backend, isUp: isUp) }
    case .admit(let backend, let isAdmitted) where backend >= WorldEvent.firstTCP:
      for pool in plan.layer4.pools.indices {
        tcpRecord(pool, backend - WorldEvent.firstTCP).adminState =
          isAdmitted ? .enabled : .draining
      }
      ledger.history.admit(backend, isAdmitted, at: network.now)
    case .admit(let backend, let isAdmitted):
      for pool in plan.configurations[0].pools.indices {
        record(pool, backend).adminState = isAdmitted ? .enabled : .draining
      }
      ledger.history.admit(backend, isAdmitted, at: network.now)
    case .jump(let span):
      network.now = network.now + span
      ledger.history.jumps.append(network.now)
    case .overload(let stage):
      ledger.history.overload(stage, at: network.now)
      for inbox in inboxes { inbox.post(.overload(stage)) }
    case .removeListener:
      if ledger.history.removedAt == nil { ledger.history.removedAt = network.now }
      for (worker, inbox) in inboxes.enumerated() { inbox.post(installation(for: worker)) }
    case .drain:
      drain()
    case .stop:
      if ledger.history.stoppedAt == nil { ledger.history.stoppedAt = network.now }
      for inbox in inboxes { inbox.post(.stop) }
    }
  }

  func drain() {
    if ledger.history.drainedAt == nil { ledger.history.drainedAt = network.now }
    for inbox in inboxes { inbox.post(.drain(limit: History.drainLimit)) }
  }

  private func flip(_ backend: Int, isUp: Bool) {
    let count = plan.configurations[0].pools.count
    for (index, settings) in snapshot.pools.prefix(count).enumerated() {
      let health = plan.policy.health
      for _ in 0..<(isUp ? health.rise : health.fall) {
        settings.pool.observeCheck(of: record(index, backend), passed: isUp, at: network.now)
      }
    }
    ledger.history.flip(backend, isUp, at: network.now)
  }
}

extension SimulatedOperator {
  /// Only if no pool has checks, which would soon change it back.
  private func flipTCP(_ backend: Int, isUp: Bool) {
    if plan.layer4.pools.contains(where: { $0.checks != .none }) { return }
    let first = plan.configurations[0].pools.count
    for index in plan.layer4.pools.indices {
      let health = plan.layer4.pools[index].health
      for _ in 0..<(isUp ? health.rise : health.fall) {
        snapshot.pools[first + index].pool.observeCheck(
          of: tcpRecord(index, backend), passed: isUp, at: network.now)
      }
    }
    ledger.history.flip(WorldEvent.firstTCP + backend, isUp, at: network.now)
  }
}

/// What was in force at each time.
struct History {
  static let drainLimit = TimeSpan.seconds(30)
  /// How long the server waits between the two GOAWAYs of a drain.
  static let warningTime = TimeSpan.seconds(5)

  private var installations: [(time: Instant, configuration: ConfigurationPlan)] = []
  private var isChecked: [Int: Bool] = [:]
  private var isAdmitted: [Int: Bool] = [:]
  /// For each backend, in order of time, whether it was usable from then on.
  private var changes: [Int: [(time: Instant, isUp: Bool)]] = [:]
  var jumps: [Instant] = []
  private var overloads: [(time: Instant, stage: OverloadStage)] = []
  /// When the listener was removed.
  var removedAt: Instant?
  var drainedAt: Instant?
  var stoppedAt: Instant?

  /// The longest time until all workers have applied a change.
  static let slack = TimeSpan.seconds(1)

  mutating func install(_ configuration: ConfigurationPlan, at time: Instant) {
    installations.append((time, configuration))
  }

  /// The configurations under which a worker may have begun an exchange.
  func configurations(from begin: Instant, to end: Instant) -> [ConfigurationPlan] {
    installations.indices.compactMap { index in
      let next = index + 1 < installations.count ? installations[index + 1].time : .never
      // The clock may jump between the message and its reading.
      let isOver = next + Self.slack < begin && !hasJump(from: next, to: begin)
      return installations[index].time <= end && !isOver ? installations[index].configuration : nil
    }
  }

  mutating func overload(_ stage: OverloadStage, at time: Instant) {
    overloads.append((time, stage))
  }

  /// Whether connections were closed within the span because memory was short. This continues a
  /// moment longer than the shortage, and it takes a while to arrive at a distant client.
  func isShort(from begin: Instant, to end: Instant) -> Bool {
    hasStage(from: begin, to: end, after: .seconds(5)) { $0 != .normal }
  }

  /// Whether requests were refused within the span because memory was short.
  func isShed(from begin: Instant, to end: Instant) -> Bool {
    hasStage(from: begin, to: end, after: Self.slack) { $0 == .sheddingRequests }
  }

  private func hasStage(
    from begin: Instant, to end: Instant, after: TimeSpan, _ isMeant: (OverloadStage) -> Bool
  ) -> Bool {
    overloads.indices.contains { index in
      let next = index + 1 < overloads.count ? overloads[index + 1].time + after : .never
      return isMeant(overloads[index].stage) && overloads[index].time <= end && next >= begin
    }
  }

  mutating func flip(_ backend: Int, _ isUp: Bool, at time: Instant) {
    isChecked[backend] = isUp
    note(backend, time)
  }

  mutating func admit(_ backend: Int, _ isUp: Bool, at time: Instant) {
    isAdmitted[backend] = isUp
    note(backend, time)
  }

  private mutating func note(_ backend: Int, _ time: Instant) {
    let isUp = isChecked[backend] != false && isAdmitted[backend] != false
    changes[backend, default: []].append((time, isUp))
  }

  /// Whether no exchange should have begun at `backend` at this time. A change in the same instant
  /// may have come before or after.
  func isDown(_ backend: Int, at time: Instant) -> Bool {
    wasDown(backend, before: time) && changes[backend]?.last { $0.time <= time }?.isUp == false
  }

  private func wasDown(_ backend: Int, before time: Instant) -> Bool {
    changes[backend]?.last { $0.time < time }?.isUp == false
  }

  /// Whether it was unusable during all of the span.
  func isDown(_ backend: Int, throughout begin: Instant, to end: Instant) -> Bool {
    isDown(backend, at: begin)
      && changes[backend]?.contains { $0.time >= begin && $0.time <= end && $0.isUp } == false
  }

  /// Whether it was unusable at some time of the span.
  func isDown(_ backend: Int, from begin: Instant, to end: Instant) -> Bool {
    wasDown(backend, before: begin)
      || changes[backend]?.contains { $0.time >= begin && $0.time <= end && !$0.isUp } == true
  }

  /// Whether the server may have ended connections for a reason of its own, that it had for this
  /// time.
  func hasEnd(before time: Instant, since span: TimeSpan = .zero) -> Bool {
    [drainedAt, stoppedAt, removedAt].contains { $0.map { $0 + span <= time } ?? false }
      || isShort(from: .origin, to: time) || !jumps.isEmpty
  }

  func hasJump(from begin: Instant, to end: Instant) -> Bool {
    jumps.contains { $0 >= begin && $0 <= end }
  }
}
