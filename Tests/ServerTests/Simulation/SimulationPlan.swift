// Everything that is decided before a run, drawn from its seed: the world, its actors, the
// requests, and the events at the server.
//
// It is a value of independent parts, so that parts of a failing run can be removed as long as it
// still fails (Shrinking.swift). The responses of a backend are not in it: they follow from the
// seed, the request, the backend and the number of the delivery.

import Primitives

@testable import Server

struct SimulationPlan {
  let seed: UInt64
  let role: SimulatedRole
  let level: SimulationLevel
  var conditions: NetworkConditions
  var workerCount = 1
  var policy = PolicyPlan()
  var backends: [BackendPlan] = []
  var clients: [ClientPlan] = []
  /// By number; requests that no client sends any more stay.
  var requests: [RequestPlan] = []
  /// The first one is in force at the start.
  var configurations: [ConfigurationPlan] = []
  /// In order of time.
  var events: [WorldEvent] = []
  /// Connections without a request, many at a time.
  var crowds: [CrowdPlan] = []
  /// Clients that flood the server with frames.
  var floods: [FloodPlan] = []
  /// What TCP listeners need; empty without any.
  var layer4 = Layer4Plan()
  /// Connections of TCP listeners.
  var flows: [TCPFlowPlan] = []

  init(seed: UInt64, role: SimulatedRole, level chosen: SimulationLevel? = nil) {
    self.seed = seed
    self.role = role
    var random = RandomGenerator(seed: mix(seed ^ 0x776F_726C_64))
    let drawn: SimulationLevel = random.pick([.calm, .refusing, .stale, .storm, .storm, .storm])
    level = chosen ?? drawn
    conditions = NetworkConditions(drawnFrom: &random, isRough: level == .storm)
    drawBackends(&random)
    drawClients(&random)
    if role == .relay {
      configurations = [ConfigurationPlan(backendCount: backends.count)]
      return
    }
    workerCount = random.pick([1, 1, 2, 3])
    policy = PolicyPlan(drawnFrom: &random)
    configurations = [ConfigurationPlan(backendCount: backends.count)]
    configurations[0].vary(&random, isFirst: true)
    if random.chance(1, in: 2) { drawEvents(&random) }
    if level == .storm && random.chance(1, in: 4) {
      for _ in 0..<1 + random.next(below: 3) { crowds.append(CrowdPlan(drawnFrom: &random)) }
    }
    drawReloads()
    drawShortages()
    drawRests()
    drawWires()
    drawFloods()
    // Tests that choose a level make their own world.
    if chosen == nil { drawLayer4() }
  }

  private mutating func drawBackends(_ random: inout RandomGenerator) {
    // Few: a backend that refuses connects uses up one of three attempts.
    let unreliableMax = level == .refusing ? 2 : level == .storm ? 4 : 0
    let reliable = level == .storm ? random.next(below: 3) : 1 + random.next(below: 2)
    let unreliable = max(reliable == 0 ? 1 : 0, random.next(below: unreliableMax + 1))
    for index in 0..<reliable + unreliable {
      backends.append(
        BackendPlan(index: index, seed: random.next(), isReliable: index < reliable))
    }
    backends.shuffle(using: &random)
  }

  private mutating func drawClients(_ random: inout RandomGenerator) {
    var bodyMax = conditions.bodyMax
    // Sometimes bodies that are larger than all buffers together.
    if bodyMax == 200_000 && random.chance(1, in: 10) { bodyMax = 1_500_000 }
    for _ in 0..<1 + random.next(below: 6) {
      let first = requests.count
      for id in first..<first + 1 + random.next(below: 8) {
        requests.append(
          RequestPlan(id: id, level: level, role: role, sizeMax: bodyMax, random: &random))
      }
      clients.append(
        ClientPlan(
          ids: Array(first..<requests.count), seed: random.next(), isSmall: bodyMax < 200_000))
    }
  }

  private mutating func drawEvents(_ random: inout RandomGenerator) {
    for _ in 0..<random.next(below: 3) {
      var next = configurations[0]
      next.vary(&random, isFirst: false)
      configurations.append(next)
    }
    // The duration differs much between runs.
    let span = random.pick([300_000, 3_000_000, 30_000_000])
    for _ in 0..<1 + random.next(below: 6) {
      let time = TimeSpan.microseconds(Int64(random.next(below: span)))
      let backend = random.next(below: backends.count)
      let kind: WorldEvent.Kind
      switch random.next(below: 12) {
      case 0...4: kind = .reload(random.next(below: configurations.count))
      case 5, 6: kind = .flip(backend: backend, isUp: random.chance(1, in: 2))
      case 7, 8: kind = .admit(backend: backend, isAdmitted: random.chance(1, in: 2))
      case 9: kind = .jump(.milliseconds(Int64(random.skewed(upTo: 200_000))))
      case 10: kind = .drain
      default: kind = level == .storm && random.chance(1, in: 3) ? .stop : .drain
      }
      events.append(WorldEvent(time: time, kind: kind))
    }
    events.sort { $0.time < $1.time }
  }

  /// In some runs, many reloads with different members and limits, so that all kinds of exchanges
  /// meet them.
  private mutating func drawReloads() {
    var random = RandomGenerator(seed: mix(seed ^ 0x7265_6C6F_6164))
    if !random.chance(1, in: 4) { return }
    let first = configurations.count
    for _ in 0..<2 {
      var next = configurations[0]
      next.vary(&random, isFirst: false)
      configurations.append(next)
    }
    let pause = random.pick([30_000, 300_000, 3_000_000])
    for index in 0..<30 {
      let time = TimeSpan.microseconds(Int64(index * pause + random.next(below: pause)))
      events.append(WorldEvent(time: time, kind: .reload(first + index % 2)))
    }
    if random.chance(1, in: 2) {
      // A health change may be lost between one configuration and the next.
      for index in 0..<30 {
        let time = TimeSpan.microseconds(Int64(index * pause + random.next(below: pause)))
        let backend = random.next(below: backends.count)
        let isUp = random.chance(2, in: 3)
        events.append(WorldEvent(time: time, kind: .flip(backend: backend, isUp: isUp)))
      }
    }
    events.sort { $0.time < $1.time }
  }
}

extension SimulationPlan {
  private mutating func drawWires() {
    var random = RandomGenerator(seed: mix(seed ^ 0x7769_7265))
    for index in clients.indices where random.chance(ClientWire.http2Share, in: 16) {
      clients[index].speakHTTP2(HTTP2Conduct(drawnFrom: &random))
      for id in clients[index].ids {
        requests[id].speakHTTP2(clients[index].http2, level: level, random: &random)
      }
    }
    if random.chance(1, in: 2) {
      for pool in policy.protocols.indices {
        policy.protocols[pool] = random.pick([.http2, .http2, .http2, .http1, .auto])
      }
    }
  }

  /// Not through the smallest sockets, where a flood is none.
  private mutating func drawFloods() {
    var random = RandomGenerator(seed: mix(seed ^ 0x666C_6F6F_64))
    guard level == .storm, conditions.capacityBits.lowerBound >= 8, random.chance(1, in: 6) else {
      return
    }
    for _ in 0..<1 + random.next(below: 2) { floods.append(FloodPlan(drawnFrom: &random)) }
  }

  /// Connections that are idle for long, on both sides.
  private mutating func drawRests() {
    var random = RandomGenerator(seed: mix(seed ^ 0x7265_7374))
    policy.upstreamIdleTime = random.pick([.seconds(4), .seconds(30), .seconds(90)])
    for index in clients.indices where random.chance(1, in: 3) {
      clients[index].restMax = .seconds(random.pick([1, 10, 62, 90]))
    }
  }

  /// A temporary shortage of memory, and a configuration without the listener.
  private mutating func drawShortages() {
    var random = RandomGenerator(seed: mix(seed ^ 0x7368_6F72_7461_6765))
    func time() -> TimeSpan { .microseconds(Int64(random.skewed(upTo: 10_000_000))) }
    if random.chance(1, in: 8) {
      for _ in 0..<1 + random.next(below: 3) {
        let stage = random.pick([OverloadStage.endingConnections, .sheddingRequests])
        let begin = time()
        events.append(WorldEvent(time: begin, kind: .overload(stage)))
        events.append(WorldEvent(time: begin + time(), kind: .overload(.normal)))
      }
    }
    if random.chance(1, in: 12) { events.append(WorldEvent(time: time(), kind: .removeListener)) }
    events.sort { $0.time < $1.time }
  }
}

struct BackendPlan {
  let index: Int
  let seed: UInt64
  /// Whether connects to it always succeed.
  var isReliable: Bool
}

struct ClientPlan {
  var ids: [Int]
  let seed: UInt64
  let isSmall: Bool
  /// How long it may rest between two requests on one connection.
  var restMax = TimeSpan.zero
  private(set) var wire = ClientWire.http1
  var http2 = HTTP2Conduct()

  init(ids: [Int], seed: UInt64, isSmall: Bool) {
    self.ids = ids
    self.seed = seed
    self.isSmall = isSmall
  }

  mutating func speakHTTP2(_ conduct: HTTP2Conduct) {
    wire = .http2
    http2 = conduct
  }
}

/// Clients that only connect, and possibly begin a head.
struct CrowdPlan {
  let time: TimeSpan
  let count: Int
  let patience: TimeSpan
  let seed: UInt64

  init(drawnFrom random: inout RandomGenerator) {
    time = .microseconds(Int64(random.next(below: 3_000_000)))
    count = 1 + random.skewed(upTo: 60)
    patience = .milliseconds(Int64(random.skewed(upTo: 20_000)))
    seed = random.next()
  }
}

/// An event at the server, or a change of the clock.
struct WorldEvent {
  enum Kind {
    case reload(Int)
    /// The result of the checks of a backend, as if they had all run at once.
    case flip(backend: Int, isUp: Bool)
    /// By an operator.
    case admit(backend: Int, isAdmitted: Bool)
    /// Memory becomes short, or no longer is.
    case overload(OverloadStage)
    /// The configuration has no listener from now on.
    case removeListener
    /// The clock jumps, as after a suspend.
    case jump(TimeSpan)
    case drain
    case stop
  }

  /// Since the start.
  let time: TimeSpan
  var kind: Kind
}
