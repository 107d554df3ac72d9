// A simulated backend: where it listens, and how it reacts to connects at each time.

import Primitives

/// One connection to a simulated backend, whatever is spoken on it.
protocol SimulatedBackendConnection: SimulatedActor {
  /// Records what was sent to it and never read. Called at the end of a run.
  func auditRest()
}

final class SimulatedBackend: SimulatedService {
  enum Trouble { case refuses, swallows, resets }

  let index: Int
  let address: SocketAddress
  /// Where it expects HTTP/2.
  let http2Address: SocketAddress
  /// Where it expects headers of the PROXY protocol.
  private let headers: [SocketAddress: OutgoingHeader]
  let ledger: Ledger
  let seed: UInt64
  let sizeMax: Int
  let isSmall: Bool
  let hasTroubles: Bool
  private(set) var connections: [any SimulatedBackendConnection] = []
  private var random: RandomGenerator
  /// Periods in which it is unreachable.
  private let troubles: BackendTroubles

  init(
    index: Int, ledger: Ledger, seed: UInt64, sizeMax: Int, isSmall: Bool, isReliable: Bool
  ) {
    self.index = index
    self.ledger = ledger
    self.seed = seed
    hasTroubles = !isReliable
    self.sizeMax = sizeMax
    self.isSmall = isSmall
    let host = IPAddress(v4: 0x0A01_0001 + UInt32(index))
    address = .ip(host, port: 8080)
    http2Address = address.forHTTP2
    headers = Dictionary(
      uniqueKeysWithValues: OutgoingHeader.allCases.map { [address] header in
        (address.behind(header: header), header)
      })
    random = RandomGenerator(seed: mix(seed &+ UInt64(index) &* 0x1_0000_0001))
    troubles =
      isReliable
      ? BackendTroubles()
      : BackendTroubles(drawnFrom: &random, level: ledger.level, at: ledger.network.now)
    super.init()
    ledger.network.services[address] = self
    ledger.network.services[http2Address] = self
    for address in headers.keys { ledger.network.services[address] = self }
  }

  /// Whether it fails HTTP checks, although it accepts connections.
  var isSick: Bool {
    let seconds = ledger.network.now.nanoseconds / 1_000_000_000
    return hasTroubles && mix(seed &+ seconds / 8) % 4 == 0
  }

  override func dialled(by endpoint: SimulatedEndpoint) -> DialOutcome {
    let now = ledger.network.now
    let trouble = troubles.now(now)
    if let trouble { ledger.failedDials.append((now, index, trouble)) }
    switch trouble {
    case .refuses: return .refused
    case .swallows: return .swallowed
    case .resets: return accept(endpoint, isDoomed: true)
    case nil: return accept(endpoint, isDoomed: false)
    }
  }

  private func accept(_ endpoint: SimulatedEndpoint, isDoomed: Bool) -> DialOutcome {
    let generator = RandomGenerator(seed: random.next())
    if ledger.network.peer(of: endpoint).peerAddress == http2Address {
      let connection = SimulatedHTTP2Backend(
        backend: self, endpoint: endpoint, random: generator, isDoomed: isDoomed)
      connections.append(connection)
      return .accepted(connection)
    }
    let connection = SimulatedHTTP1Backend(
      backend: self, endpoint: endpoint, random: generator, isDoomed: isDoomed,
      header: headers[ledger.network.peer(of: endpoint).peerAddress])
    connections.append(connection)
    return .accepted(connection)
  }
}

extension SocketAddress {
  /// So that each connection of a client has an address of its own.
  func port(plus number: Int) -> SocketAddress {
    guard case .ip(let host, let port) = self else { return self }
    return .ip(host, port: port + UInt16(number))
  }

  /// The address at which the same backend expects HTTP/2.
  var forHTTP2: SocketAddress {
    guard case .ip(let host, let port) = self else { return self }
    return .ip(host, port: port + 1)
  }
}
