// A simulated backend of TCP listeners, and its connections. A connection learns its flow from the
// first bytes, checks every byte, and answers and ends as the flow's plan says.

import Primitives

final class SimulatedTCPBackend: SimulatedService {
  let plan: BackendPlan
  let address: SocketAddress
  let ledger: Ledger
  let isSmall: Bool
  /// What connections to this address begin with.
  private let headers: [SocketAddress: OutgoingHeader]
  private var random: RandomGenerator
  private let troubles: BackendTroubles

  /// `headers`: those that pools send to it.
  init(ledger: Ledger, plan: BackendPlan, headers: Set<OutgoingHeader>, isSmall: Bool) {
    self.ledger = ledger
    self.plan = plan
    self.isSmall = isSmall
    let address = Self.address(of: plan.index)
    self.address = address
    self.headers = Dictionary(
      uniqueKeysWithValues: headers.map { (address.behind(header: $0), $0) })
    random = RandomGenerator(seed: mix(plan.seed ^ 0x7463_70))
    troubles =
      plan.isReliable
      ? BackendTroubles()
      : BackendTroubles(drawnFrom: &random, level: ledger.level, at: ledger.network.now)
    super.init()
    ledger.network.services[address] = self
    for address in self.headers.keys { ledger.network.services[address] = self }
  }

  static func address(of index: Int) -> SocketAddress {
    .ip(IPAddress(v4: 0x0A02_0001 + UInt32(index)), port: 9_000)
  }

  override func dialled(by endpoint: SimulatedEndpoint) -> DialOutcome {
    let trouble = troubles.now(ledger.network.now)
    if let trouble { ledger.failedTCPDials.append((ledger.network.now, plan.index, trouble)) }
    switch trouble {
    case .refuses: return .refused
    case .swallows: return .swallowed
    case .resets, nil:
      let address = ledger.network.peer(of: endpoint).peerAddress
      let connection = SimulatedTCPConnection(
        backend: self, endpoint: endpoint, header: headers[address],
        random: RandomGenerator(seed: random.next()), isDoomed: trouble == .resets)
      ledger.tcpConnections.append(connection)
      return .accepted(connection)
    }
  }
}

/// Periods in which a backend is unreachable.
struct BackendTroubles {
  private var periods: [(from: Instant, to: Instant, kind: SimulatedBackend.Trouble)] = []

  init() {}

  init(drawnFrom random: inout RandomGenerator, level: SimulationLevel, at now: Instant) {
    let kinds: [SimulatedBackend.Trouble] =
      level == .refusing
      ? [.refuses, .refuses, .swallows] : [.refuses, .refuses, .swallows, .resets]
    if random.chance(1, in: 3) {
      periods = [(now, .never, random.pick(kinds))]
      return
    }
    var time = now
    for _ in 0..<random.next(below: 4) {
      time = time + .milliseconds(Int64(random.skewed(upTo: 4_000)))
      let end = time + .milliseconds(Int64(random.skewed(upTo: 20_000)))
      periods.append((time, end, random.pick(kinds)))
      time = end
    }
  }

  func now(_ time: Instant) -> SimulatedBackend.Trouble? {
    periods.first { $0.from <= time && time < $0.to }?.kind
  }
}

extension SocketAddress {
  /// The address at which the same backend expects such a header.
  func behind(header: OutgoingHeader?) -> SocketAddress {
    guard case .ip(let host, let port) = self, let header else { return self }
    return .ip(host, port: port + 10 + UInt16(OutgoingHeader.allCases.firstIndex(of: header) ?? 0))
  }
}
