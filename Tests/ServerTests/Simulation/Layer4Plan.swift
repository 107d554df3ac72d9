// The TCP side of a run, drawn from its seed: listeners, pools, backends and connections (flows).
//
// It has a generator of its own and is drawn behind everything else, so that the rest of a plan is
// the same with and without it. Seeds that were kept before it existed have none.

import Balancing
import Configuration
import Primitives

@testable import Server

struct Layer4Plan {
  var listeners: [TCPListenerPlan] = []
  var pools: [TCPPoolPlan] = []
  var backends: [BackendPlan] = []
}

struct TCPListenerPlan {
  let pool: Int
  /// Whether connections begin with a header of the PROXY protocol.
  let takesHeaders: Bool
  let address: SocketAddress
}

/// Settings of a pool that are the same after all reloads.
struct TCPPoolPlan {
  enum Checks { case none, dials, talk }

  var strategy = Strategy.roundRobin
  var hashesFlows = false
  var header: OutgoingHeader?
  var ejects = false
  var checks = Checks.none
  var relayIdle = TimeSpan.seconds(300)
  /// When one side has finished.
  var idle = TimeSpan.seconds(30)
}

/// What connections to the backends of a pool begin with.
enum OutgoingHeader: CaseIterable {
  case v1, v2, v2WithTLVs

  var plan: ProxyHeaderPlan {
    switch self {
    case .v1: return ProxyHeaderPlan(Configuration.ProxyHeader(.v1))
    case .v2: return ProxyHeaderPlan(Configuration.ProxyHeader(.v2))
    case .v2WithTLVs:
      var header = Configuration.ProxyHeader(.v2)
      header.tlvs = [.authority, .uniqueID, .tls, .crc32c]
      return ProxyHeaderPlan(header)
    }
  }
}

/// What a reload may change.
struct Layer4Configuration {
  /// The members of each pool.
  var pools: [[Int]] = []
  /// Whether each listener is there.
  var listeners: [Bool] = []
  var listenerConnectionMax: Int?
  /// The limit of each backend.
  var maxConnections: Int?
  var queueMax = 0
}

/// One connection of a client.
struct TCPFlowPlan {
  enum Dialogue {
    /// Both sides send whenever they can.
    case free
    /// The client sends a piece of this size, and waits for as many bytes.
    case rounds(Int)
  }

  enum ClientEnd {
    /// FIN behind the last byte, and then it takes the rest.
    case finishes
    /// It waits for the end of the backend first.
    case waits
    /// At this count of bytes, sent and received.
    case resets(Int)
    /// Closes, even if bytes are unread or still come.
    case closes(Int)
    /// The link breaks, and nobody is told.
    case isCut(Int)
  }

  enum BackendEnd {
    case finishes
    /// It waits for the end of the client first.
    case follows
    case resets(Int)
    case closes(Int)
  }

  let id: Int
  let seed: UInt64
  let listener: Int
  /// Since the start.
  let time: TimeSpan
  var upSize = 0
  var downSize = 0
  var dialogue = Dialogue.free
  var clientEnd = ClientEnd.finishes
  var backendEnd = BackendEnd.follows
  /// From this byte on, a side takes nothing for a while.
  var clientDeafness: (at: Int, span: TimeSpan)?
  var backendDeafness: (at: Int, span: TimeSpan)?
  /// In front of this byte, the client sends nothing for a while.
  var rest: (at: Int, span: TimeSpan)?
  var header: IncomingHeader?

  /// Of the client's socket. Each flow has its own.
  var address: SocketAddress {
    let isFromProxy = header?.isFromProxy ?? false
    return .ip(
      IPAddress(v4: (isFromProxy ? 0x0A07_0000 : 0x0A00_0300) + UInt32(id & 0xFF)),
      port: UInt16(20_000 + id))
  }

  /// The client that a backend must be told of.
  var source: SocketAddress { header?.source ?? address }

  var bytes: BodyPattern { BodyPattern(id, 1, 4) }
}

extension SimulationPlan {
  /// Of 8 runs, how many have TCP listeners.
  private static let layer4Share = 3

  mutating func drawLayer4() {
    if !KeptSeed.isOlderThanTCP(seed) { drawLayer4(share: Self.layer4Share) }
  }

  /// In this share of 8 runs.
  mutating func drawLayer4(share: Int) {
    var random = RandomGenerator(seed: mix(seed ^ 0x6C61_7965_7234))
    if !random.chance(share, in: 8) { return }
    drawTCPBackends(&random)
    for pool in 0..<1 + random.next(below: 2) {
      layer4.pools.append(TCPPoolPlan(drawnFrom: &random))
      layer4.listeners.append(
        TCPListenerPlan(
          pool: pool, takesHeaders: random.chance(1, in: 3),
          address: .ip(.loopbackV4, port: UInt16(5_000 + pool))))
    }
    for pool in policy.protocols.indices where policy.protocols[pool] == .http1 {
      if random.chance(1, in: 3) { policy.headers[pool] = random.pick(OutgoingHeader.allCases) }
    }
    for index in configurations.indices {
      configurations[index].layer4 = Layer4Configuration(
        layer4, isFirst: index == 0, drawnFrom: &random)
    }
    var sizeMax = conditions.bodyMax
    // Sometimes more than all buffers together hold.
    if sizeMax == 200_000 && random.chance(1, in: 10) { sizeMax = 1_500_000 }
    for id in 0..<1 + random.next(below: 6) {
      flows.append(
        TCPFlowPlan(
          id: id, listeners: layer4.listeners, level: level, sizeMax: sizeMax, random: &random))
    }
    if random.chance(1, in: 3) { drawTCPEvents(&random) }
  }

  private mutating func drawTCPBackends(_ random: inout RandomGenerator) {
    // As for HTTP: one of three attempts may meet a backend that refuses.
    let unreliableMax = level == .refusing ? 2 : level == .storm ? 3 : 0
    let reliable = level == .storm ? random.next(below: 3) : 1 + random.next(below: 2)
    let unreliable = max(reliable == 0 ? 1 : 0, random.next(below: unreliableMax + 1))
    for index in 0..<reliable + unreliable {
      layer4.backends.append(
        BackendPlan(index: index, seed: random.next(), isReliable: index < reliable))
    }
    layer4.backends.shuffle(using: &random)
  }

  private mutating func drawTCPEvents(_ random: inout RandomGenerator) {
    let span = random.pick([300_000, 3_000_000, 30_000_000])
    for _ in 0..<1 + random.next(below: 4) {
      let time = TimeSpan.microseconds(Int64(random.next(below: span)))
      let backend = WorldEvent.firstTCP + random.next(below: layer4.backends.count)
      switch random.next(below: 4) {
      case 0, 1:
        let isUp = random.chance(1, in: 2)
        events.append(WorldEvent(time: time, kind: .flip(backend: backend, isUp: isUp)))
      case 2:
        let isAdmitted = random.chance(1, in: 2)
        events.append(
          WorldEvent(time: time, kind: .admit(backend: backend, isAdmitted: isAdmitted)))
      default:
        var next = configurations[0]
        next.layer4 = Layer4Configuration(layer4, isFirst: false, drawnFrom: &random)
        configurations.append(next)
        events.append(WorldEvent(time: time, kind: .reload(configurations.count - 1)))
      }
    }
    events.sort { $0.time < $1.time }
  }
}

extension WorldEvent {
  /// The backends of TCP listeners have their numbers from here on.
  static let firstTCP = 1_000
}

extension TCPPoolPlan {
  init(drawnFrom random: inout RandomGenerator) {
    strategy = random.pick(Strategy.allCases)
    hashesFlows = random.chance(1, in: 2)
    if random.chance(1, in: 2) { header = random.pick(OutgoingHeader.allCases) }
    ejects = random.chance(1, in: 3)
    checks = random.pick([.none, .none, .dials, .talk])
    relayIdle = random.pick([.seconds(20), .seconds(120), .seconds(300)])
    idle = random.pick([.seconds(5), .seconds(30)])
  }
}

extension Layer4Configuration {
  init(_ plan: Layer4Plan, isFirst: Bool, drawnFrom random: inout RandomGenerator) {
    let all = Array(plan.backends.indices)
    for _ in plan.pools {
      var members = all
      if !isFirst || random.chance(1, in: 4) {
        members = all.filter { _ in random.chance(1, in: 2) }
        if members.isEmpty { members = [random.pick(all)] }
      }
      pools.append(members)
    }
    listeners = plan.listeners.map { _ in isFirst || !random.chance(1, in: 6) }
    if random.chance(1, in: 10) { listenerConnectionMax = 1 + random.next(below: 3) }
    if random.chance(1, in: 8) { maxConnections = 1 + random.next(below: 2) }
    if maxConnections != nil && random.chance(1, in: 2) { queueMax = 16 }
  }
}

extension TCPFlowPlan {
  init(
    id: Int, listeners: [TCPListenerPlan], level: SimulationLevel, sizeMax: Int,
    random: inout RandomGenerator
  ) {
    self.id = id
    seed = random.next()
    listener = random.next(below: listeners.count)
    time = .microseconds(Int64(random.skewed(upTo: random.pick([1_000_000, 10_000_000]))))
    upSize = random.skewed(upTo: sizeMax)
    downSize = random.skewed(upTo: sizeMax)
    // A round trip for each piece takes time.
    if random.chance(1, in: 3) {
      upSize = random.skewed(upTo: min(4_000, sizeMax))
      dialogue = .rounds(1 + upSize / (1 + random.next(below: 16)))
    }
    let total = upSize + downSize
    clientEnd = random.chance(2, in: 3) ? .finishes : .waits
    backendEnd = random.chance(1, in: 2) ? .finishes : .follows
    if level == .storm {
      if random.chance(1, in: 4) {
        let at = random.skewed(upTo: total)
        clientEnd = random.pick([.resets(at), .resets(at), .closes(at), .isCut(at)])
      }
      if random.chance(1, in: 4) {
        let at = random.skewed(upTo: total)
        backendEnd = random.chance(2, in: 3) ? .resets(at) : .closes(at)
      }
    } else if case (.waits, .follows) = (clientEnd, backendEnd) {
      // Each would wait for the other.
      clientEnd = .finishes
    }
    let spanMax = level == .storm ? 400_000 : 3_000
    if random.chance(1, in: 4) {
      clientDeafness = (
        random.next(below: downSize + 1), .milliseconds(Int64(random.skewed(upTo: spanMax)))
      )
    }
    if random.chance(1, in: 4) {
      backendDeafness = (
        random.next(below: upSize + 1), .milliseconds(Int64(random.skewed(upTo: spanMax)))
      )
    }
    if random.chance(1, in: 6) {
      rest = (random.next(below: upSize + 1), .milliseconds(Int64(random.skewed(upTo: spanMax))))
    }
    if listeners[listener].takesHeaders {
      header = IncomingHeader(
        id: id, mayBeWrong: level == .storm && random.chance(1, in: 5), drawnFrom: &random)
    }
  }
}
