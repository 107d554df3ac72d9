// One run of the simulated world, from a seed to a verdict.
//
// The run draws the world (conditions, backends, clients, requests), gives the server its turns
// until every client is done, lets it drain, and judges. The server is anything that takes turns on
// the network: the worker, or the byte relay by which the simulation itself is tested.

import Primitives
import Reactor

/// What is simulated, as far as a run must know it.
protocol SimulatedServer: ~Copyable {
  /// One turn of the loop: one `wait`, and all that follows from it.
  mutating func turn()
  /// No connection is accepted from now on; what is under way goes on, the rest ends.
  mutating func drain()
  /// What must be nothing in the end, such as active exchanges, by name.
  var gauges: [(name: String, value: Int)] { get }
}

final class SimulationRun {
  let seed: UInt64
  let level: SimulationLevel
  let role: SimulatedRole
  let network: SimulatedNetwork
  let ledger: Ledger
  let listener: Socket
  private(set) var clients: [SimulatedClient] = []
  private(set) var backends: [SimulatedBackend] = []

  /// More than an exchange may keep in memory in one direction, and less than the largest bodies.
  /// It is counted on the wire, so not where tiny chunks have 20 bytes beside each of payload.
  static let heldMax = 256 * 1024
  private static let turnMax = 2_000_000
  private static let timeMax = TimeSpan.seconds(12 * 3600)
  private static let listenAddress = SocketAddress.ip(.loopbackV4, port: 80)

  init(
    seed: UInt64, role: SimulatedRole, level: SimulationLevel? = nil, isLogging: Bool = false
  ) {
    self.seed = seed
    self.role = role
    var random = RandomGenerator(seed: mix(seed ^ 0x776F_726C_64))
    let drawn: SimulationLevel = random.pick([.calm, .refusing, .stale, .storm, .storm, .storm])
    self.level = level ?? drawn
    let conditions = NetworkConditions(drawnFrom: &random, isRough: self.level == .storm)
    network = SimulatedNetwork(seed: seed, conditions: conditions, isLogging: isLogging)
    ledger = Ledger(network: network, level: self.level, role: role)
    listener = network.listen(on: Self.listenAddress)
    makeBackends(&random)
    makeClients(&random)
    network.note("seed \(seed), \(self.level): \(clients.count) clients, \(conditions)")
  }

  var addresses: [SocketAddress] { backends.map(\.address) }

  private func makeBackends(_ random: inout RandomGenerator) {
    let bodyMax = network.conditions.bodyMax
    // Few: a backend that can't be dialled takes one of three attempts.
    let unreliableMax = level == .refusing ? 2 : level == .storm ? 4 : 0
    let reliable = level == .storm ? random.next(below: 3) : 1 + random.next(below: 2)
    let unreliable = max(reliable == 0 ? 1 : 0, random.next(below: unreliableMax + 1))
    for index in 0..<reliable + unreliable {
      backends.append(
        SimulatedBackend(
          index: index, ledger: ledger, seed: random.next(), sizeMax: bodyMax,
          isSmall: bodyMax < 200_000, isReliable: index < reliable))
    }
    backends.shuffle(using: &random)
  }

  private func makeClients(_ random: inout RandomGenerator) {
    var bodyMax = network.conditions.bodyMax
    // Now and then bodies that are larger than all buffers together.
    if bodyMax == 200_000 && random.chance(1, in: 10) { bodyMax = 1_500_000 }
    for _ in 0..<1 + random.next(below: 6) {
      let first = ledger.records.count
      for id in first..<first + 1 + random.next(below: 8) {
        ledger.records.append(
          RequestRecord(
            plan: RequestPlan(
              id: id, level: level, role: role, sizeMax: bodyMax, random: &random)))
      }
      clients.append(
        SimulatedClient(
          ledger: ledger, ids: first..<ledger.records.count,
          random: RandomGenerator(seed: random.next()), isSmall: bodyMax < 200_000))
    }
  }

  /// Lets the world run and returns what was wrong with it: nothing, hopefully.
  func run<Server: SimulatedServer & ~Copyable>(_ server: inout Server) -> [String] {
    let end = network.now + Self.timeMax
    var isDraining = false
    while !network.isStuck {
      if clients.allSatisfy(\.isDone) {
        if !isDraining {
          isDraining = true
          network.note("the clients are done")
          server.drain()
        }
        if network.openSocketCount == 0 { break }
      }
      server.turn()
      sampleHeldBytes()
      if network.now > end {
        network.fault("virtual hours have passed, and it isn't over")
        break
      }
      if network.watch.turns > Self.turnMax {
        network.fault("more than \(Self.turnMax) turns")
        break
      }
    }
    judge(gauges: server.gauges)
    return network.faults
  }

  private func isMostlyOverhead(_ framing: BodyFraming?) -> Bool {
    role == .proxy && framing == .chunked
  }

  /// Checks how much of each exchange the worker holds: what it took from one side and hasn't
  /// passed to the other.
  private func sampleHeldBytes() {
    for client in clients {
      guard let request = client.outstanding.first, let endpoint = client.endpoint,
        endpoint.isConnected
      else { continue }
      let forwarded = endpoint.sentTotal - client.answerStart
      let delivery = ledger.records[request.id].deliveries.last { !$0.isLost }
      if forwarded == 0 && !isMostlyOverhead(ledger.records[request.id].plan.framing) {
        let workers = network.peer(of: endpoint)
        let taken = min(workers.takenTotal, request.end ?? .max) - request.start
        let sent = delivery.map { $0.endpoint.sentTotal - $0.start } ?? 0
        if taken - sent > Self.heldMax {
          ledger.fault(request.id, "\(taken - sent) bytes of its body are held")
        }
      }
      if let delivery, let start = delivery.answerStart,
        !isMostlyOverhead(delivery.answer?.framing)
      {
        let workers = network.peer(of: delivery.endpoint)
        let taken = min(workers.takenTotal, delivery.answerEnd ?? .max) - start
        if taken - forwarded > Self.heldMax {
          ledger.fault(request.id, "\(taken - forwarded) bytes of the answer are held")
        }
      }
    }
  }
}
