// Everything that a run decides beforehand, drawn from its seed: the world, who is in it, what is
// asked, and what happens to the server meanwhile.
//
// It is a value made of parts that don't depend on each other, so that parts can be taken out of a
// run that failed for as long as it goes on failing (Shrinking.swift). What a backend answers isn't
// in here: it follows from the seed, the request, the backend and the number of the delivery.

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
  /// By number; those that no client asks any more stay.
  var requests: [RequestPlan] = []
  /// The first is in force at the start.
  var configurations: [ConfigurationPlan] = []
  /// In the order of time.
  var events: [WorldEvent] = []
  /// Connections that ask for nothing, many at a time.
  var crowds: [CrowdPlan] = []

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
  }

  private mutating func drawBackends(_ random: inout RandomGenerator) {
    // Few: a backend that can't be dialled takes one of three attempts.
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
    // Now and then bodies that are larger than all buffers together.
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
    // How long there is something going on differs much between runs.
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

  /// In some runs many reloads, each to other members and limits, so that exchanges of all kinds
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
      // A flip may be lost between one configuration and the next.
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
  /// Memory that runs short for a while, and a configuration without the listener.
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
  /// Whether it can always be dialled.
  var isReliable: Bool
}

struct ClientPlan {
  var ids: [Int]
  let seed: UInt64
  let isSmall: Bool
}

/// Clients that only connect, and perhaps begin a head.
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

/// Something that happens to the server, or to the time.
struct WorldEvent {
  enum Kind {
    case reload(Int)
    /// The checks' verdict on a backend, as if they had all come at once.
    case flip(backend: Int, isUp: Bool)
    /// By hand.
    case admit(backend: Int, isAdmitted: Bool)
    /// Memory runs short, or no longer does.
    case overload(OverloadStage)
    /// No configuration has the listener from now on.
    case removeListener
    /// The clock, as after a machine was suspended.
    case jump(TimeSpan)
    case drain
    case stop
  }

  /// Since the start.
  let time: TimeSpan
  var kind: Kind
}
